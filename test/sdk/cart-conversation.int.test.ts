import type { JsonValue } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import pg from 'pg';
import { beforeAll, describe, expect, it } from 'vitest';
import { createDoorClient, type DoorClient } from '../support/door-client.ts';
import {
  buildFunction,
  FUNCTIONS,
  type FunctionProcess,
  missingTools,
  startFunction,
} from '../support/function-process.ts';
import { createDatabase } from '../support/postgres.ts';
import { fileScope } from '../support/scope.ts';
import { deploymentName, type RunningRuntime, startRuntime } from '../support/start-runtime.ts';

/* The same cart, written with every SDK that there is, has the same conversation through the doors. */

const SERVICE = 'shop.ShoppingCart';
/** The events after which the carts hand over a snapshot. */
const SNAPSHOT_EVERY = 5;
/** More than any of the runtimes here may have open at once: carts are passivated all the time. */
const MANY = 10;
/** A command may have to wait for a JVM to start again. */
const ANSWERED_WITHIN_MS = 60_000;
/** The first build of a cart fetches what it needs. */
const BUILD_WITHIN_MS = 15 * 60_000;

interface Cart {
  readonly source: keyof typeof FUNCTIONS;
  /** What the SDK makes of a failure's text. */
  readonly failureOf: (text: string) => string;
  /** Whether the runtime keeps the SDK's snapshots. */
  readonly snapshots: boolean;
  /** `function.maxStreams`; absent: what the runtime takes for the SDK. */
  readonly maxStreams?: number;
}

const asItIs = (text: string) => text;
/** The SDKs in Python print the list of a command's failures. */
const asPythonList = (text: string) => `['${text}']`;

const CARTS: readonly Cart[] = [
  { source: 'cart-kalix', failureOf: asItIs, snapshots: true, maxStreams: 2 },
  { source: 'cart-akkaserverless', failureOf: asItIs, snapshots: true, maxStreams: 2 },
  { source: 'cart-cloudstate', failureOf: asItIs, snapshots: true, maxStreams: 2 },
  { source: 'cart-cloudstate-python', failureOf: asPythonList, snapshots: false },
  { source: 'cart-akkaserverless-python', failureOf: asPythonList, snapshots: false },
  { source: 'cart-kalix-java', failureOf: asItIs, snapshots: true, maxStreams: 2 },
  { source: 'cart-cloudstate-java', failureOf: asItIs, snapshots: true, maxStreams: 2 },
];

/** The messages are the same for all carts, so that one client is as good as any. */
const CLIENT = 'cart-cloudstate';
await buildFunction(FUNCTIONS[CLIENT]);

const lacking = new Map<string, string>();
for (const { source } of CARTS) {
  const missing = await missingTools(FUNCTIONS[source]);
  if (missing.length > 0) lacking.set(source, `(skipped: this machine has no ${missing.join(', ')})`);
}

const item = (productId: string, quantity: number) => ({ productId, name: `A ${productId}`, quantity });

describe.for(CARTS)('$source', ({ source, failureOf, snapshots, maxStreams }) => {
  const reason = lacking.get(source);
  if (reason !== undefined) {
    it.skip(`holds the conversation ${reason}`);
    return;
  }

  const scope = fileScope();
  let fn: FunctionProcess;
  let config: Parameters<typeof startRuntime>[1];
  let runtime: RunningRuntime;
  let at: string;
  let client: DoorClient;
  let journal: pg.Pool;

  async function start(): Promise<void> {
    runtime = startRuntime(scope, config);
    at = await runtime.doors();
    await runtime.ready();
    client = await createDoorClient(scope, { at, source: CLIENT });
  }

  beforeAll(async () => {
    await buildFunction(FUNCTIONS[source]);
    fn = await startFunction(scope, { source });
    const databaseUrl = await createDatabase(scope);
    journal = new pg.Pool({ connectionString: databaseUrl, max: 1, options: '-c search_path=stateferry' });
    scope.onTestFinished(() => journal.end());
    config = {
      'deployment.name': deploymentName(scope),
      'deployment.shards': 4,
      'postgres.url': databaseUrl,
      'function.url': `http://${fn.url}`,
      ...(maxStreams && { 'function.maxStreams': maxStreams }),
      'doors.enabled': true,
      'doors.port': 0,
    };
    await start();
  }, BUILD_WITHIN_MS);

  const call = async (method: string, input: JsonValue) =>
    (await client.call(`${SERVICE}/${method}`, input, { deadlineMs: ANSWERED_WITHIN_MS })).output;
  const add = (userId: string, productId: string, quantity = 1) =>
    call('AddItem', { userId, ...item(productId, quantity) });
  const remove = (userId: string, productId: string) => call('RemoveItem', { userId, productId });
  const items = async (userId: string) => ((await call('GetCart', { userId })) as { items?: JsonValue[] }).items ?? [];
  const failure = (wanted: Promise<unknown>) =>
    wanted.then(
      () => Promise.reject(new Error('the call was expected to fail')),
      ({ code, details }: grpc.ServiceError) => ({ code: grpc.status[code], details }),
    );
  async function http(method: 'GET' | 'POST', path: string, body?: object) {
    const response = await fetch(`http://${at}${path}`, {
      method,
      ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    });
    return { status: response.status, body: await response.text() };
  }
  const ok = (body: unknown) => ({ status: 200, body: JSON.stringify(body) });
  /** Lets others have all the streams, one after the other. */
  async function passivate(userId: string): Promise<void> {
    for (let n = 0; n < MANY; n += 1) await items(`another than ${userId}, ${n}`);
  }
  const tooFew = failureOf('Cannot add negative quantity of item pen');
  const notThere = failureOf('Cannot remove item nib because it is not in the cart.');

  it('is created, changed and read by gRPC', async () => {
    expect(await items('ada')).toEqual([]);
    expect(await add('ada', 'pen', 2)).toEqual({});
    await add('ada', 'ink');
    await add('ada', 'pen', 3);
    expect(await items('ada')).toEqual([item('pen', 5), item('ink', 1)]);
    await remove('ada', 'ink');
    expect(await items('ada')).toEqual([item('pen', 5)]);
  });

  it('is created, changed and read by HTTP at all the addresses of its annotations', async () => {
    expect(await http('POST', '/cart/bob/items/add', item('pen', 2))).toEqual(ok({}));
    expect(await http('POST', '/cart/bob/items/add', item('ink', 1))).toEqual(ok({}));
    expect(await http('GET', '/carts/bob')).toEqual(ok({ items: [item('pen', 2), item('ink', 1)] }));
    expect(await http('POST', '/cart/bob/items/ink/remove')).toEqual(ok({}));
    expect(await http('GET', '/carts/bob/items')).toEqual(ok([item('pen', 2)]));
    expect(await http('GET', '/carts/nobody')).toEqual(ok({ items: [] }));
  });

  it('fails with its own words, and nothing has changed', async () => {
    await add('cyd', 'pen', 2);
    expect(await failure(add('cyd', 'pen', -1))).toEqual({ code: 'UNKNOWN', details: tooFew });
    expect(await failure(remove('cyd', 'nib'))).toEqual({ code: 'UNKNOWN', details: notThere });
    expect(await http('POST', '/cart/cyd/items/add', item('pen', 0))).toEqual({ status: 500, body: tooFew });
    expect(await http('POST', '/cart/cyd/items/nib/remove')).toEqual({ status: 500, body: notThere });
    expect(await items('cyd')).toEqual([item('pen', 2)]);
    await add('cyd', 'pen', 1);
    expect(await items('cyd')).toEqual([item('pen', 3)]);
  });

  it('has no other commands than its service', async () => {
    const raw = new grpc.Client(at, grpc.credentials.createInsecure());
    const same = (bytes: Buffer) => bytes;
    const sent = new Promise((resolve, reject) => {
      raw.makeUnaryRequest(`/${SERVICE}/Nothing`, same, same, Buffer.alloc(0), (error) =>
        error === null ? resolve(0) : reject(error),
      );
    });
    expect(await failure(sent)).toMatchObject({ code: 'UNIMPLEMENTED' });
    raw.close();
    expect(await http('POST', `/${SERVICE}/Nothing`, {})).toMatchObject({ status: 404 });
  });

  it('is one of more carts than the function may have open at once', async () => {
    const users = Array.from({ length: MANY }, (_, n) => `u${n}`);
    for (const quantity of [1, 2]) await Promise.all(users.map((user) => add(user, user, quantity)));
    for (const user of users) expect(await items(user)).toEqual([item(user, 3)]);
    expect((await Promise.all(users.map(items))).flat()).toEqual(users.map((user) => item(user, 3)));
  });

  it('counts the items of ten callers at once', async () => {
    await Promise.all(Array.from({ length: 10 }, () => add('dan', 'pen')));
    expect(await items('dan')).toEqual([item('pen', 10)]);
  });

  it(`has ${snapshots ? 'its snapshot' : 'no snapshot, which its SDK could not start from,'} in the journal`, async () => {
    for (let n = 1; n < SNAPSHOT_EVERY; n += 1) await add('eve', 'pen');
    await passivate('eve');
    for (let n = 0; n < 3; n += 1) await add('eve', 'pen');
    const { rows } = await journal.query('select seq::int, type_url from snapshot where entity_id = $1', ['eve']);
    expect(rows).toEqual(snapshots ? [{ seq: SNAPSHOT_EVERY, type_url: 'type.googleapis.com/shop.domain.Cart' }] : []);
    await passivate('eve');
    expect(await items('eve')).toEqual([item('pen', SNAPSHOT_EVERY + 2)]);
  });

  it('is as it was after the function was killed and started again, and what was under way happens once', async () => {
    const underWay = Array.from({ length: 20 }, (_, n) => add(`f${n % 2}`, 'pen'));
    await Promise.race(underWay);
    fn.kill();
    await fn.exited;
    fn = await startFunction(scope, { source, port: fn.port });
    await Promise.all(underWay);
    for (const user of ['f0', 'f1']) expect(await items(user)).toEqual([item('pen', 10)]);
    expect(await items('eve')).toEqual([item('pen', SNAPSHOT_EVERY + 2)]);
    await add('eve', 'ink');
    expect(await items('eve')).toEqual([item('pen', SNAPSHOT_EVERY + 2), item('ink', 1)]);
  });

  it('is as it was after the runtime was stopped and started again', async () => {
    await runtime.stop();
    await start();
    expect(await items('eve')).toEqual([item('pen', SNAPSHOT_EVERY + 2), item('ink', 1)]);
    await remove('eve', 'pen');
    expect(await http('GET', '/carts/eve/items')).toEqual(ok([item('ink', 1)]));
    expect(runtime.status().function).toMatchObject({ up: true, dialect: fn.dialect });
  });
});
