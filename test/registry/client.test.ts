import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import type { RegistryAsked } from '../../src/model/registry-asked.ts';
import { createRegistryClient, type RegistryAddress } from '../../src/registry/client.ts';
import type { Scope } from '../support/scope.ts';

type Answer = readonly [status: number, body: object | string];

/** A registry that answers by `METHOD path`; undefined: nothing ever. Keeps what it was asked with. */
async function serve(t: Scope, answers: Readonly<Record<string, Answer | undefined>>) {
  const asked: { readonly what: string; readonly authorization: string | undefined }[] = [];
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const what = `${request.method} ${request.url}`;
    asked.push({ what, authorization: request.headers.authorization });
    request.resume();
    if (what in answers && answers[what] === undefined) return;
    const [status, body] = answers[what] ?? [404, { error_code: 40403, message: 'Schema not found' }];
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/api`, asked };
}

function clientOf(t: Scope, given: Partial<RegistryAddress>, asked: RegistryAsked[] = []) {
  const client = createRegistryClient(
    { urls: [], user: '', password: () => '', token: () => '', tls: undefined, timeoutMs: 2_000, ...given },
    (one) => asked.push(one),
  );
  t.onTestFinished(async () => client.close());
  return client;
}

const AVRO = { schema: '"string"' };

it('a schema comes with everything that it refers to, each after what it refers to itself', async (t) => {
  const reference = (name: string) => ({ name, subject: `s/${name}`, version: 1 });
  const { url } = await serve(t, {
    'GET /api/schemas/ids/5': [
      200,
      { schema: 'top', schemaType: 'PROTOBUF', references: [reference('a'), reference('b')] },
    ],
    'GET /api/subjects/s%2Fa/versions/1': [200, { schema: 'A', references: [reference('b')] }],
    'GET /api/subjects/s%2Fb/versions/1': [200, { schema: 'B' }],
  });
  const schema = await clientOf(t, { urls: [url] }).schema(5);
  expect(schema).toMatchObject({ id: 5, type: 'PROTOBUF', text: 'top' });
  expect(schema?.imports).toEqual([
    { name: 'b', text: 'B' },
    { name: 'a', text: 'A' },
  ]);
});

it('what the registry itself does not know is told from what is no registry, or is away', async (t) => {
  const { url } = await serve(t, {
    'GET /api/schemas/ids/2': [404, '<html>not here</html>'],
    'GET /api/schemas/ids/3': [404, { message: 'no such page' }],
    'GET /api/schemas/ids/4': [503, { error_code: 50301, message: 'no leader' }],
    'GET /api/schemas/ids/5': undefined,
  });
  const client = clientOf(t, { urls: [url], timeoutMs: 10_000 });
  expect(await client.schema(1)).toBeUndefined();
  for (const id of [2, 3, 4]) await expect(client.schema(id)).rejects.toMatchObject({ code: 'REGISTRY_UNAVAILABLE' });
  const impatient = clientOf(t, { urls: [url], timeoutMs: 50 });
  await expect(impatient.schema(5)).rejects.toMatchObject({
    code: 'REGISTRY_UNAVAILABLE',
    message: expect.stringContaining('50 ms'),
  });
});

it('asks the next address where one does not answer, and that one first from then on', async (t) => {
  const first = await serve(t, { 'GET /api/schemas/ids/1': [500, { message: 'broken' }] });
  const second = await serve(t, { 'GET /api/schemas/ids/1': [200, AVRO] });
  const client = clientOf(t, { urls: ['http://127.0.0.1:1', first.url, second.url] });
  expect(await client.schema(1)).toMatchObject({ type: 'AVRO' });
  expect(await client.schema(1)).toMatchObject({ type: 'AVRO' });
  expect([first.asked.length, second.asked.length]).toEqual([1, 2]);
});

it('says who it is; one that is not let in is a matter of the configuration, told without its secret', async (t) => {
  const { url, asked } = await serve(t, { 'GET /api/schemas/ids/9': [401, { error_code: 40101 }] });
  await clientOf(t, { urls: [url], user: 'me', password: () => 'pass word' }).schema(1);
  const client = clientOf(t, { urls: [url], token: () => 'a-token' });
  await client.schema(1);
  expect(asked.map(({ authorization }) => authorization)).toEqual([
    `Basic ${Buffer.from('me:pass word').toString('base64')}`,
    'Bearer a-token',
  ]);
  const refused = await client.schema(9).catch((error: unknown) => error);
  expect(refused).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('registry.auth') });
  expect(String(refused)).not.toContain('a-token');
});

it('tells why a schema is not compatible, and that a subject without versions takes everything', async (t) => {
  const { url } = await serve(t, {
    'POST /api/compatibility/subjects/old/versions/latest?verbose=true': [
      200,
      { is_compatible: false, messages: ['a', 'b'] },
    ],
    'POST /api/compatibility/subjects/new/versions/latest?verbose=true': [404, { error_code: 40401 }],
    'POST /api/subjects/old/versions': [409, { error_code: 409, message: 'incompatible' }],
  });
  const client = clientOf(t, { urls: [url] });
  const schema = { type: 'AVRO', text: '"string"', references: [] } as const;
  expect(await client.incompatibilities('old', schema)).toEqual(['a', 'b']);
  expect(await client.incompatibilities('new', schema)).toEqual([]);
  await expect(client.register('old', schema)).rejects.toMatchObject({
    code: 'SCHEMA_MISFIT',
    message: expect.stringContaining('incompatible'),
  });
});

it('tells of each request to each address, with what came of it and how long that took', async (t) => {
  const { url } = await serve(t, {
    'GET /api/schemas/ids/1': [200, AVRO],
    'GET /api/schemas/ids/9': [403, {}],
    'GET /api/subjects/s/versions/latest': [404, { error_code: 40401 }],
    'POST /api/compatibility/subjects/s/versions/latest?verbose=true': [422, { error_code: 42201 }],
    'POST /api/subjects/s/versions': [409, { error_code: 409 }],
  });
  const asked: RegistryAsked[] = [];
  const client = clientOf(t, { urls: ['http://127.0.0.1:1', url] }, asked);
  const schema = { type: 'AVRO', text: '"string"', references: [] } as const;
  await client.schema(1);
  await client.schema(9).catch(() => undefined);
  await client.version('s', 'latest');
  await client.incompatibilities('s', schema);
  await client.register('s', schema).catch(() => undefined);
  expect(asked.map(({ request, outcome }) => `${request} ${outcome}`)).toEqual([
    'schema failed',
    'schema ok',
    'schema denied',
    'version unknown',
    'compatibility refused',
    'register refused',
  ]);
  expect(asked.every(({ ms }) => ms > 0 && ms < 60_000)).toBe(true);
});

it('what a schema refers to and the registry does not have comes with it, and what refers to it is there', async (t) => {
  const gone = { name: 'x', subject: 'gone', version: 1 };
  const there = { name: 'y', subject: 'there', version: 2 };
  const { url } = await serve(t, {
    'GET /api/schemas/ids/6': [200, { ...AVRO, references: [there] }],
    'GET /api/subjects/there/versions/2': [200, { schema: 'Y', references: [gone] }],
    'GET /api/subjects/gone/versions/1': [404, { error_code: 40401, message: 'Subject not found' }],
  });
  expect(await clientOf(t, { urls: [url] }).schema(6)).toMatchObject({
    imports: [{ name: 'y', text: 'Y' }],
    missing: [gone],
  });
});
