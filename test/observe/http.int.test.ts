import { once } from 'node:events';
import { get } from 'node:https';
import { connect } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { readServerTls } from '../../src/certificates.ts';
import { createHttp } from '../../src/observe/http.ts';
import { createLog } from '../../src/observe/log.ts';
import { createMetrics } from '../../src/observe/metrics.ts';
import type { ShardPlace } from '../../src/observe/places.ts';
import { createSignals } from '../../src/observe/signals.ts';
import { healthOf, type Status } from '../../src/observe/status.ts';
import { createTally } from '../../src/observe/tally.ts';
import { createAuthority, filesOf } from '../support/certificates.ts';
import { aStatus } from './a-status.ts';

async function serve(
  status: () => Status = aStatus,
  host = '127.0.0.1',
  places: () => Promise<readonly ShardPlace[]> = async () => [],
  asking: Pick<Parameters<typeof createHttp>[0], 'token' | 'tls'> = {},
) {
  const hub = createSignals();
  const lines: string[] = [];
  const http = createHttp({
    config: { host, port: 0 },
    registry: createMetrics({ hub, tally: createTally(hub), status, processMetrics: false }),
    health: () => healthOf(status()),
    status,
    places,
    ...asking,
    log: createLog({ level: 'info', format: 'json' }, { write: (line) => lines.push(line) }),
  });
  const { port } = await http.start();
  onTestFinished(() => http.stop());
  const url = `http://127.0.0.1:${port}`;
  return { url, port, lines, get: (path: string, init?: RequestInit) => fetch(`${url}${path}`, init) };
}

const openStatus = (): Status => ({
  ...aStatus(),
  shards: aStatus().shards.map((shard) => ({ ...shard, state: 'running' })),
});

test('/status is the status as JSON', async () => {
  const { get } = await serve();
  const response = await get('/status');
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8');
  expect(await response.json()).toEqual(aStatus());
});

test('/metrics is the registry', async () => {
  const { get } = await serve();
  const response = await get('/metrics');
  expect(response.headers.get('content-type')).toContain('version=0.0.4');
  expect(await response.text()).toContain('stateferry_active_entities 7\n');
});

test('/readyz is 200 only while the engine runs, every shard is open and the function is up, and says what is not so', async () => {
  let status: Status = openStatus();
  const { get } = await serve(() => status);
  const ready = async () => {
    const response = await get('/readyz');
    return [response.status, await response.json()];
  };
  expect(await ready()).toEqual([200, { state: 'running', reasons: [] }]);
  status = aStatus();
  expect(await ready()).toEqual([503, { state: 'running', reasons: ['shard 12 is recovering'] }]);
  status = { ...openStatus(), function: { ...openStatus().function, up: false } };
  expect(await ready()).toEqual([
    503,
    { state: 'running', reasons: ['the function at http://127.0.0.1:8080 is down'] },
  ]);
  status = { ...openStatus(), shards: [] };
  expect(await ready()).toEqual([200, { state: 'running', reasons: [] }]);
  for (const state of ['starting', 'rebuilding', 'draining', 'stopped', 'failed'] as const) {
    status = { ...openStatus(), state };
    expect(await ready()).toEqual([503, { state, reasons: [`the engine is ${state}`] }]);
  }
});

test('/healthz is 200 unless the engine has failed', async () => {
  let status: Status = { ...openStatus(), state: 'starting' };
  const { get } = await serve(() => status);
  for (const state of ['starting', 'running', 'rebuilding', 'draining', 'stopped'] as const) {
    status = { ...openStatus(), state };
    expect((await get('/healthz')).status).toBe(200);
  }
  status = { ...openStatus(), state: 'failed' };
  expect((await get('/healthz')).status).toBe(503);
});

test('other paths, other methods and long URLs are refused', async () => {
  const { get } = await serve();
  for (const path of ['/', '/metrics/', '/constructor', '/__proto__', '/status/..%2f', '//metrics']) {
    expect((await get(path)).status, path).toBe(404);
  }
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
    const response = await get('/status', { method });
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('GET, HEAD');
  }
  expect((await get(`/status?${'x'.repeat(1_024)}`)).status).toBe(414);
  expect((await get('/status?x=1')).status).toBe(200);
});

test('HEAD has the headers of GET and no body', async () => {
  const { get } = await serve();
  const response = await get('/status', { method: 'HEAD' });
  expect(response.status).toBe(200);
  expect(Number(response.headers.get('content-length'))).toBeGreaterThan(100);
  expect(await response.text()).toBe('');
});

test('a status that cannot be made is a 500 with a line in the log, and the server goes on', async () => {
  let broken = true;
  const { get, lines } = await serve(() => {
    if (broken) throw new Error('no snapshot now');
    return aStatus();
  });
  for (const path of ['/status', '/metrics', '/readyz']) {
    const response = await get(path);
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain('no snapshot');
  }
  expect(lines.join('')).toContain('no snapshot now');
  broken = false;
  expect((await get('/status')).status).toBe(200);
});

test('a request with too large a header is refused', async () => {
  const { get } = await serve();
  expect((await get('/status', { headers: { 'x-large': 'x'.repeat(9_000) } })).status).toBe(431);
});

test('only an address that is not loopback brings a warning', async () => {
  expect((await serve(aStatus, '127.0.0.1')).lines.join('')).not.toContain('"warn"');
  expect((await serve(aStatus, '0.0.0.0')).lines.join('')).toContain('Everyone who reaches this address');
});

test('an address that is taken is a sentence with the options to change', async () => {
  const { port } = await serve();
  const second = createHttp({
    config: { host: '127.0.0.1', port },
    registry: createMetrics({
      hub: createSignals(),
      tally: createTally(createSignals()),
      status: aStatus,
      processMetrics: false,
    }),
    health: () => healthOf(aStatus()),
    status: aStatus,
    places: async () => [],
    log: createLog({ level: 'silent', format: 'json' }, { write: () => {} }),
  });
  await expect(second.start()).rejects.toMatchObject({
    code: 'HTTP_ADDRESS',
    message: expect.stringMatching(/another process listens there.*http\.host and http\.port/),
  });
});

test('where the shards are is told, or why that cannot be told', async () => {
  const place = { shard: 0, epoch: 3, owners: ['carts-1'], member: null, here: true, reason: 'open here' };
  let places = async () => [place];
  const { get } = await serve(aStatus, '127.0.0.1', () => places());
  expect(await (await get('/shards')).json()).toEqual({ shards: [place] });
  places = async () => {
    throw new Error('Postgres is away');
  };
  const refused = await get('/shards');
  expect([refused.status, await refused.json()]).toEqual([503, { error: 'Postgres is away' }]);
});

test('stopping ends connections that are still open', async () => {
  const http = createHttp({
    config: { host: '127.0.0.1', port: 0 },
    registry: createMetrics({
      hub: createSignals(),
      tally: createTally(createSignals()),
      status: aStatus,
      processMetrics: false,
    }),
    health: () => healthOf(aStatus()),
    status: aStatus,
    places: async () => [],
    log: createLog({ level: 'silent', format: 'json' }, { write: () => {} }),
  });
  const { port } = await http.start();
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const closed = once(socket.resume(), 'close');
  await http.stop();
  await closed;
});

test('with a token, metrics and status are for who sends it, and health is for everybody', async () => {
  const token = 'abcdefghijklmnop';
  const { get, lines } = await serve(aStatus, '127.0.0.1', async () => [], { token });
  for (const path of ['/metrics', '/status', '/shards']) {
    expect((await get(path)).status).toBe(401);
    expect((await get(path, { headers: { authorization: `Bearer ${token}x` } })).status).toBe(401);
    expect((await get(path, { headers: { authorization: `Bearer ${token}` } })).status).toBe(200);
  }
  expect((await get('/metrics')).headers.get('www-authenticate')).toBe('Bearer');
  for (const path of ['/healthz', '/readyz']) expect((await get(path)).status).not.toBe(401);
  expect(lines.join('')).not.toContain(token);
});

test('with client certificates, one of the CA counts as a token does; without one there is health, where that is allowed', async (t) => {
  const authority = createAuthority();
  const own = authority.issue({ addresses: ['127.0.0.1'] });
  const client = authority.issue({ commonName: 'scraper' });
  const stranger = createAuthority('Other CA').issue({ commonName: 'scraper' });
  const { paths } = await filesOf(t, {
    certificate: own.certificate,
    key: own.key,
    ca: authority.certificate,
  });
  for (const clientCertificates of ['optional', 'required'] as const) {
    const faults: string[] = [];
    const tls = readServerTls(
      'http.tls',
      { certificateFile: paths.certificate, keyFile: paths.key, clientCaFile: paths.ca, clientCertificates },
      faults,
    );
    expect(faults).toEqual([]);
    const { port } = await serve(aStatus, '127.0.0.1', async () => [], { tls });
    /** The status, or "refused". */
    const ask = (path: string, shown?: { certificate: string; key: string }) =>
      new Promise<number | 'refused'>((resolve) => {
        const request = get({
          port,
          host: '127.0.0.1',
          path,
          ca: authority.certificate,
          agent: false,
          ...(shown && { cert: shown.certificate, key: shown.key }),
        });
        request.on('response', (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        });
        request.on('error', () => resolve('refused'));
      });
    const optional = clientCertificates === 'optional';
    expect(await ask('/status', client)).toBe(200);
    expect(await ask('/status')).toBe(optional ? 401 : 'refused');
    expect(await ask('/status', stranger)).toBe(optional ? 401 : 'refused');
    expect(await ask('/healthz')).toBe(optional ? 200 : 'refused');
  }
});
