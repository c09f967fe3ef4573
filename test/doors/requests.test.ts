import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import { buffer, text } from 'node:stream/consumers';
import * as grpc from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import type { Scope } from '../support/scope.ts';
import { annotated } from './access/annotated.ts';
import { openDoors } from './open-doors.ts';

const api = annotated({
  body: `
    rpc Bare(Item) returns (Item);
    rpc Out(Item) returns (stream Item);
    rpc Shut(Item) returns (Item) { option (kalix.method).acl = { deny_code: 5 }; }
    rpc ShutOut(Item) returns (stream Item) { option (kalix.method).acl = { allow: { service: "shop" } }; }
    rpc ShutIn(stream Item) returns (Item) { option (kalix.method).acl = { allow: { service: "shop" } }; }
  `,
});

interface Asked {
  readonly method?: string;
  readonly type?: string;
  readonly body?: string | Buffer;
}

/** One request over HTTP/2 with prior knowledge. */
async function overHttp2(t: Scope, at: string, path: string, { method = 'POST', type, body = '' }: Asked = {}) {
  const session = http2.connect(`http://${at}`);
  t.onTestFinished(async () => session.destroy());
  const stream = session.request({
    ':method': method,
    ':path': path,
    ...(type !== undefined && { 'content-type': type }),
  });
  // One without a body has ended by then.
  if (method !== 'GET') stream.end(body);
  const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
  return { status: headers[':status'] as unknown, headers, body: await buffer(stream) };
}

const JSON_TYPE = 'application/json';
const EMPTY_FRAME = Buffer.alloc(5);

describe('HTTP/2 in clear text', () => {
  it('carries JSON, its streams, gRPC-Web and the description, beside gRPC on the same connection', async (t) => {
    const { at, through } = await openDoors(t, { api });
    const ask = (path: string, asked?: Asked) => overHttp2(t, at, path, asked);
    const bare = await ask('/app.Api/Bare', { type: JSON_TYPE, body: '{"id":"a"}' });
    expect([bare.status, String(bare.body)]).toEqual([200, '{"id":""}']);
    expect(String((await ask('/app.Api/Out', { type: JSON_TYPE, body: '{}' })).body)).toBe('{"id":""}\n');
    const web = await ask('/app.Api/Bare', { type: 'application/grpc-web+proto', body: EMPTY_FRAME });
    expect([web.status, web.headers['content-type']]).toEqual([200, 'application/grpc-web+proto']);
    expect(String(web.body)).toMatch(/grpc-status: ?0/);
    const description = await ask('/openapi.json', { method: 'GET' });
    expect(JSON.parse(String(description.body)).paths).toHaveProperty(['/app.Api/Bare']);
    expect((await ask('/nowhere', { method: 'GET' })).status).toBe(404);
    const own = await ask('/app.Api/Bare', { type: 'application/grpc', body: EMPTY_FRAME });
    expect([own.status, own.headers['content-type']]).toEqual([200, 'application/grpc+proto']);
    expect(new Set(through.map(({ peer }) => peer.address))).toEqual(new Set(['127.0.0.1']));
    expect(through).toHaveLength(4);
  });
});

describe('a call by gRPC', () => {
  it('may wait for longer than a timer can be set to', async (t) => {
    const { at, through } = await openDoors(t, { api });
    const session = http2.connect(`http://${at}`);
    t.onTestFinished(async () => session.destroy());
    for (const timeout of ['99999999H', '2592000S', '1S']) {
      const stream = session.request({
        ':method': 'POST',
        ':path': '/app.Api/Bare',
        'content-type': 'application/grpc',
        'grpc-timeout': timeout,
      });
      stream.end(EMPTY_FRAME);
      const trailers = once(stream, 'trailers') as Promise<[http2.IncomingHttpHeaders]>;
      stream.resume();
      expect((await trailers)[0]['grpc-status']).toBe('0');
    }
    const days = through.map(({ deadline = 0 }) => Math.round((deadline - Date.now()) / 86_400_000));
    expect(days).toEqual([25, 25, 0]);
  });
});

describe('who may not call', () => {
  it('is told that, whatever is wrong with the request', async (t) => {
    const { at, through } = await openDoors(t, { api });
    const ask = async (path: string, body: string, type = JSON_TYPE) => {
      const response = await fetch(`http://${at}${path}`, { method: 'POST', headers: { 'content-type': type }, body });
      return { status: response.status, text: await response.text() };
    };
    for (const name of ['Shut', 'ShutOut', 'ShutIn']) {
      const expected = name === 'Shut' ? 404 : 403;
      expect((await ask(`/app.Api/${name}`, '{"id":')).status).toBe(expected);
      expect((await ask(`/app.Api/${name}?no=such`, '{}')).status).toBe(expected);
      expect((await ask(`/app.Api/${name}`, '{}', 'text/plain')).status).toBe(expected);
    }
    const web = await ask('/app.Api/Shut', 'no frame', 'application/grpc-web');
    expect(web.text).toMatch(/grpc-status: ?5/);
    expect((await ask('/app.Api/Bare', '{"id":')).status).toBe(400);
    expect((await ask('/app.Api/Out', '{"id":')).status).toBe(400);
    expect((await ask('/app.Api/Bare', 'no frame', 'application/grpc-web')).text).toMatch(/grpc-status: ?3/);
    expect(through.filter(({ method }) => method.name !== 'Out')).toEqual([]);
  });
});

describe('a body that does not come to its end', () => {
  it('is answered with 408 when its time is over, and the connection is closed', async (t) => {
    const { at, through } = await openDoors(t, { api, timeoutMs: 300 });
    const headers = { 'content-type': JSON_TYPE, 'content-length': '100' };
    const request = http.request(`http://${at}/app.Api/Bare`, { method: 'POST', agent: false, headers });
    request.on('error', () => undefined);
    request.write('{');
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    expect(response.statusCode).toBe(408);
    expect(await text(response)).toContain('within 300 ms (doors.timeoutMs)');
    if (!request.socket?.destroyed) await once(request.socket as NonNullable<typeof request.socket>, 'close');
    expect(through).toEqual([]);
  });
});

describe('the description of the services', () => {
  const LIST_SERVICES = Buffer.from([0x3a, 0]);
  const fileOf = (symbol: string) => Buffer.from([0x22, symbol.length, ...Buffer.from(symbol)]);

  /** What reflection answers, or the status that it fails with. */
  const reflect = (at: string, request: Buffer): Promise<Buffer | string> =>
    new Promise((resolve) => {
      const client = new grpc.Client(at, grpc.credentials.createInsecure());
      const same = (bytes: Buffer): Buffer => bytes;
      const call = client.makeBidiStreamRequest(
        '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
        same,
        same,
      );
      const end = (what: Buffer | string): void => {
        client.close();
        resolve(what);
      };
      call.on('data', end);
      call.on('error', (error: grpc.ServiceError) => end(grpc.status[error.code] as string));
      call.write(request);
      call.end();
    });

  it('has the health service, and its file', async (t) => {
    const { at } = await openDoors(t, { api });
    const names = String(await reflect(at, LIST_SERVICES));
    expect(names).toContain('app.Api');
    expect(names).toContain('grpc.health.v1.Health');
    for (const symbol of [
      'grpc.health.v1.Health',
      'grpc.health.v1.Health.Watch',
      'grpc.health.v1.HealthCheckResponse',
    ]) {
      expect(String(await reflect(at, fileOf(symbol)))).toContain('grpc/health/v1/health.proto');
    }
    expect(String(await reflect(at, fileOf('app.Api')))).toContain('app.proto');
  });

  it('is for those who may call methods without an ACL', async (t) => {
    const closed = await openDoors(t, { api, withoutAcl: 'closed' });
    expect(await reflect(closed.at, LIST_SERVICES)).toBe('PERMISSION_DENIED');
    const refused = await fetch(`http://${closed.at}/openapi.json`);
    expect([refused.status, await refused.text()]).toEqual([403, expect.stringContaining('doors.withoutAcl: closed')]);
    const open = await openDoors(t, { api, withoutAcl: 'open' });
    expect((await fetch(`http://${open.at}/openapi.json`)).status).toBe(200);
  });
});
