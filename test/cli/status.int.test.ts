import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { runCli } from '../../src/cli/program.ts';
import { createHttp } from '../../src/observe/http.ts';
import { createLog } from '../../src/observe/log.ts';
import { createMetrics } from '../../src/observe/metrics.ts';
import type { ShardPlace } from '../../src/observe/places.ts';
import { createSignals } from '../../src/observe/signals.ts';
import { healthOf, type Status } from '../../src/observe/status.ts';
import { createTally } from '../../src/observe/tally.ts';
import { aStatus } from '../observe/a-status.ts';
import { filesOf } from '../support/certificates.ts';

const PLACES: readonly ShardPlace[] = [
  { shard: 0, epoch: 3, owners: ['carts-1'], member: { id: 'm-1', host: '10.0.0.1' }, here: true, reason: 'open here' },
  { shard: 1, epoch: 0, owners: [], member: null, here: false, reason: 'never opened; assigned to nobody' },
];

/** A process that answers with `status` and `places`; its port. */
async function processWith(
  status: Status,
  places: () => Promise<readonly ShardPlace[]> = async () => PLACES,
  token?: string,
): Promise<number> {
  const hub = createSignals();
  const http = createHttp({
    config: { host: '127.0.0.1', port: 0 },
    registry: createMetrics({ hub, tally: createTally(hub), status: () => status, processMetrics: false }),
    health: () => healthOf(status),
    status: () => status,
    places,
    token,
    log: createLog({ level: 'silent', format: 'json' }, { write: () => {} }),
  });
  onTestFinished(() => http.stop());
  return (await http.start()).port;
}

/** Something else that listens; its port. */
async function serverWith(listener: RequestListener): Promise<number> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  });
  return (server.address() as AddressInfo).port;
}

async function status(argv: string[], env: Record<string, string> = {}, signal = new AbortController().signal) {
  let out = '';
  let err = '';
  const code = await runCli({
    argv: ['status', ...argv],
    env,
    cwd: '/nowhere',
    version: '0',
    signal,
    out: {
      write: (text) => {
        out += text;
      },
    },
    err: {
      write: (text) => {
        err += text;
      },
    },
    commands: {},
  });
  return { code, out, err };
}

test('shows process, function, a row for each topic of each shard, and the totals', async () => {
  const port = await processWith(aStatus());
  expect(await status(['--url', `http://127.0.0.1:${port}`])).toEqual({
    code: 0,
    err: '',
    out: `Deployment carts, process carts-1: running
Function at http://127.0.0.1:8080: up; shop, kalix; shop.Cart (event-sourced)
Doors: open at 127.0.0.1:9000

SHARD  STATE       EPOCH  OWNER    TOPIC          APPLIED  COMMITTED  END  LAG  IN FLIGHT  ENTITIES
    0  running         3  carts-1  cart-commands       90         80  100   10          4         7
                                   refunds              5          5    ?    ?
   12  recovering      1  carts-1  cart-commands        0          0    1    1          1         0

FEED        OF                SHARD  STATE        POSITION  BEHIND
shop.Watch  events of carts       0  catching up        30      50
shop.Watch  values of prices      0  live                        0

Since it started: 90 records, 90 commands, 80 events, 90 outputs, 0 dead letters, 0 strays, 0 retries, 0 parked, 0 duplicates, 0 skipped, 9 chunks, 8 transactions, 0 rebuilds

SHARD  EPOCH  OWNERS   GROUP MEMBER     WHY
    0      3  carts-1  m-1 at 10.0.0.1  open here
    1      0                            never opened; assigned to nobody
`,
  });
});

test('names what a person has to deal with: halted shards, and why, and shards with paused entities', async () => {
  const [first, second] = aStatus().shards;
  const halt = {
    code: 'FUNCTION_FAILED',
    error: 'no stock',
    topic: 'cart-commands',
    partition: 0,
    offset: '90',
    service: 'shop.Cart',
    method: 'Add',
    entityType: 'carts',
    entityId: 'c-1',
    since: 1_700_000_000_000,
  };
  const shards = [
    { ...first, state: 'halted', halt },
    { ...second, pausedEntities: 2, schemaAwaitedSince: 1_700_000_000_000 },
  ] as Status['shards'];
  const port = await processWith({ ...aStatus(), shards });
  const { out } = await status(['--url', `http://127.0.0.1:${port}`]);
  expect(out).toContain(
    'Shard 0 is halted before cart-commands/0/90 for shop.Cart/Add: FUNCTION_FAILED, no stock\n' +
      'Shard 12 has waited since 2023-11-14T22:13:20.000Z for the schema registry to tell the schema of a record\n' +
      'Shard 12 has 2 paused entities (stateferry entity list)\n',
  );
});

test('says why it cannot tell where the shards are', async () => {
  const port = await processWith(aStatus(), async () => {
    throw new Error('Postgres is away');
  });
  const { out } = await status(['--url', `http://127.0.0.1:${port}`]);
  expect(out).toContain('Where the shards of the deployment are, it cannot tell: Postgres is away\n');
});

test('a spare process says that it owns no shard', async () => {
  const port = await processWith({ ...aStatus(), shards: [] });
  expect((await status(['--url', `http://127.0.0.1:${port}`])).out).toContain('This process owns no shard.');
});

test('--json prints what the process answers', async () => {
  const port = await processWith(aStatus());
  expect(JSON.parse((await status(['--url', `http://127.0.0.1:${port}`, '--json'])).out)).toEqual({
    ...aStatus(),
    places: { shards: PLACES },
  });
});

test('without --url it asks the configured port on this machine, and needs neither brokers nor a database for that', async () => {
  const port = await processWith(aStatus());
  const env = {
    STATEFERRY_HTTP_HOST: '0.0.0.0',
    STATEFERRY_HTTP_PORT: String(port),
    STATEFERRY_HTTP_TOKEN: 'abcdefghijklmnop',
  };
  expect((await status([], env)).out).toContain('Deployment carts');
  expect((await status(['--http-port', String(port)])).out).toContain('Deployment carts');
});

test('a process that wants a token is shown the configured one, also from a file; without, or with another, it is said what to do', async () => {
  const token = 'the-token-of-the-admins';
  const port = await processWith(aStatus(), undefined, token);
  const { paths, write } = await filesOf({ onTestFinished }, { token: `${token}\n` });
  const at = ['--url', `http://127.0.0.1:${port}`];
  const shown = await status(at, { STATEFERRY_HTTP_TOKEN: token });
  expect(shown).toMatchObject({ code: 0, err: '', out: expect.stringContaining('Deployment carts') });
  // The places of the shards want it, too.
  expect(shown.out).toContain('never opened; assigned to nobody');
  expect(shown.out).not.toContain(token);
  expect(await status(at, { STATEFERRY_HTTP_TOKEN_FILE: paths.token })).toEqual(shown);

  const set = 'set http.token or http.tokenFile as it has it';
  expect(await status(at)).toMatchObject({
    code: 1,
    out: '',
    err: expect.stringContaining(`the process wants a token, and none is configured: ${set}`),
  });
  const other = await status(at, { STATEFERRY_HTTP_TOKEN: 'the-token-of-somebody-else' });
  expect(other).toMatchObject({ code: 1, out: '', err: expect.stringContaining(`wants another token: ${set}`) });
  expect(other.err).not.toContain('somebody-else');
  await write('token', '');
  expect(await status(at, { STATEFERRY_HTTP_TOKEN_FILE: paths.token })).toMatchObject({
    code: 2,
    err: expect.stringContaining(`http.tokenFile: found ${paths.token} empty`),
  });
  expect(await status(at, { STATEFERRY_HTTP_TOKEN_FILE: '/nowhere/token' })).toMatchObject({
    code: 2,
    err: expect.stringMatching(/http\.tokenFile: found no file that can be read .*expected the path of one/),
  });
});

test('a port that was chosen freely is asked for', async () => {
  expect(await status(['--http-port', '0'])).toMatchObject({ code: 1, err: expect.stringContaining('--url') });
});

test.each([
  ['a page', (_request, response) => response.end('<html>')],
  ['other JSON', (_request, response) => response.end('{"status":"ok"}')],
  ['null', (_request, response) => response.end('null')],
  ['404', (_request, response) => response.writeHead(404).end('not found')],
] as [string, RequestListener][])('what is not Stateferry (%s) is said to be so', async (_what, listener) => {
  const port = await serverWith(listener);
  expect(await status(['--url', `http://127.0.0.1:${port}`])).toMatchObject({
    code: 1,
    out: '',
    err: expect.stringMatching(/^stateferry: no status from http.*what answers is not Stateferry/),
  });
});

test('where nothing listens, the address and the way out are named', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  expect(await status(['--url', `http://127.0.0.1:${port}`])).toMatchObject({
    code: 1,
    err: expect.stringMatching(
      new RegExp(`no status from http://127.0.0.1:${port}/status: .*ECONNREFUSED.*Is the process`),
    ),
  });
});

test('an end that is asked for ends the waiting', async () => {
  const stop = new AbortController();
  const port = await serverWith(() => stop.abort());
  expect((await status(['--url', `http://127.0.0.1:${port}`], {}, stop.signal)).code).toBe(1);
});
