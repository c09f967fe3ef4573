import { once } from 'node:events';
import net from 'node:net';
import type { JsonValue } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import { beforeAll, describe, expect, it } from 'vitest';
import { freePorts } from '../../src/local/ports.ts';
import { createDoorClient, type DoorClient } from '../support/door-client.ts';
import { type FunctionProcess, startFunction } from '../support/function-process.ts';
import { createDatabase } from '../support/postgres.ts';
import { fileScope } from '../support/scope.ts';
import { deploymentName, type RunningRuntime, startRuntime } from '../support/start-runtime.ts';

const LEDGER = 'trouble.LedgerService';
const BOX = 'trouble.BoxService';
const DESK = 'trouble.DeskService';

const forFile = fileScope();

let fn: FunctionProcess;
let runtime: RunningRuntime;
let at: string;
let client: DoorClient;

beforeAll(async () => {
  fn = await startFunction(forFile, { source: 'trouble' });
  // The function is told the port before the doors open.
  const [port] = (await freePorts(1)) as [number];
  runtime = startRuntime(forFile, {
    'deployment.name': deploymentName(forFile),
    'postgres.url': await createDatabase(forFile),
    'function.url': `http://${fn.url}`,
    'doors.enabled': true,
    'doors.port': port,
  });
  at = await runtime.doors();
  client = await createDoorClient(forFile, { at, source: 'trouble' });
});

let lastId = 0;
const fresh = () => `e${++lastId}`;

/** The status and the sentence of a call that must fail. */
async function failure(call: Promise<unknown>): Promise<{ code: string; details: string }> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason as grpc.ServiceError,
  );
  if (error === undefined) throw new Error('the call was expected to fail');
  return { code: grpc.status[error.code] as string, details: error.details };
}

async function everything(stream: AsyncIterable<unknown>): Promise<JsonValue[]> {
  const found: JsonValue[] = [];
  for await (const message of stream) found.push(message as JsonValue);
  return found;
}

describe('a deployment without a topic of its own', () => {
  it('has as many shards as deployment.shards says, all of them open', async () => {
    await runtime.ready();
    expect(runtime.status().shards).toHaveLength(8);
  });
});

describe('a command of an entity at the door', () => {
  it('is answered with what the entity replies, and the entity has changed', async () => {
    const id = fresh();
    expect((await client.call(`${LEDGER}/Add`, { id, amount: 3 })).output).toMatchObject({ balance: 3 });
    expect((await client.call(`${LEDGER}/Add`, { id, amount: 4 })).output).toMatchObject({ balance: 7, changes: 2 });
    expect((await client.call(`${LEDGER}/Get`, { id })).output).toMatchObject({ balance: 7 });
  });

  it('is answered for a value entity too, through deletion', async () => {
    const id = fresh();
    await client.call(`${BOX}/Put`, { id, text: 'x' });
    expect((await client.call(`${BOX}/Look`, { id })).output).toMatchObject({ text: 'x' });
    await client.call(`${BOX}/Remove`, { id });
    expect((await client.call(`${BOX}/Look`, { id })).output).toEqual({ id });
  });

  it('is answered with the sentence and the status of its failure, and changes nothing', async () => {
    const id = fresh();
    expect(await failure(client.call(`${LEDGER}/AddThenFail`, { id, amount: 1, status: 9 }))).toEqual({
      code: 'FAILED_PRECONDITION',
      details: 'failed as told',
    });
    expect(await failure(client.call(`${LEDGER}/AddThenFail`, { id, amount: 1 }))).toMatchObject({ code: 'UNKNOWN' });
    expect((await failure(client.call(`${LEDGER}/AddThenThrow`, { id, amount: 1 }))).details).toContain(
      'thrown as told',
    );
    expect((await client.call(`${LEDGER}/Add`, { id, amount: 5 })).output).toMatchObject({ balance: 5, changes: 1 });
  });

  it('is answered with the default of its output where the handler answers nothing', async () => {
    expect((await client.call(`${LEDGER}/AddInSilence`, { id: fresh(), amount: 1 })).output).toEqual({});
  });

  it('is answered by the one that it is forwarded to', async () => {
    const [id, to] = [fresh(), fresh()];
    expect((await client.call(`${LEDGER}/AddAndForward`, { id, amount: 2, to })).output).toMatchObject({
      id: to,
      balance: 2,
    });
    const boxId = fresh();
    expect((await client.call(`${BOX}/PutAndForward`, { id: boxId, text: 'four' })).output).toMatchObject({
      id: boxId,
      balance: 4,
    });
  });

  it('is answered when its synchronous side effects have been applied', async () => {
    const [id, first, second] = [fresh(), fresh(), fresh()];
    await client.call(`${LEDGER}/AddWithEffects`, { id, amount: 6, to: [first, second, id], synchronous: true });
    // Asked by one that does not wait: the effects are applied already.
    const balances = await Promise.all(
      [id, first, second].map(async (one) => (await client.call(`${LEDGER}/Get`, { id: one })).output),
    );
    expect(balances).toMatchObject([{ balance: 12 }, { balance: 6 }, { balance: 6 }]);
  });

  it('takes its turn with ten callers on one entity', async () => {
    const id = fresh();
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => client.call(`${LEDGER}/AddSlowly`, { id, amount: 1, ms: 5 })),
    );
    const balances = answers.map(({ output }) => (output as { balance: number }).balance);
    expect(balances.sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  it('learns that the outcome is unknown where no answer comes in time, and takes effect once', async () => {
    const id = fresh();
    const call = client.call(`${LEDGER}/AddSlowly`, { id, amount: 1, ms: 1_500 }, { deadlineMs: 500 });
    expect(await failure(call)).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    expect((await client.call(`${LEDGER}/Get`, { id })).output).toMatchObject({ balance: 1, changes: 1 });
  });

  it('is answered by HTTP where its caller would wait for a month', async () => {
    const response = await fetch(`http://${at}/${LEDGER}/Add`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-server-timeout': String(31 * 24 * 3_600) },
      body: JSON.stringify({ id: fresh(), amount: 2 }),
    });
    expect([response.status, await response.json()]).toEqual([200, expect.objectContaining({ balance: 2 })]);
  });

  it('is refused without an entity key', async () => {
    expect(await failure(client.call(`${LEDGER}/Add`, { amount: 1 }))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: expect.stringContaining('id'),
    });
  });

  it('is refused where it is no message of the input type', async () => {
    const raw = new grpc.Client(at, grpc.credentials.createInsecure());
    const sent = new Promise((resolve, reject) => {
      const same = (bytes: Buffer) => bytes;
      raw.makeUnaryRequest(`/${LEDGER}/Add`, same, same, Buffer.from([0x0a, 0xff]), (error, answer) =>
        error === null ? resolve(answer) : reject(error),
      );
    });
    expect(await failure(sent)).toMatchObject({ code: 'INVALID_ARGUMENT' });
    raw.close();
  });
});

describe('an action at the door', () => {
  it('is answered directly', async () => {
    expect((await client.call(`${DESK}/Echo`, { text: 'hello' })).output).toEqual({ text: 'hello' });
    expect(await failure(client.call(`${DESK}/Fail`, { text: 'no', status: 5 }))).toEqual({
      code: 'NOT_FOUND',
      details: 'no',
    });
    expect((await client.call(`${DESK}/Shrug`, {})).output).toEqual({});
    expect((await failure(client.call(`${DESK}/Burst`, { later: true }))).details).toContain('rejected as told');
  });

  it('forwards to an entity, and waits for synchronous side effects', async () => {
    const [to, one, two] = [fresh(), fresh(), fresh()];
    expect((await client.call(`${DESK}/Forward`, { to, amount: 8 })).output).toMatchObject({ id: to, balance: 8 });
    await client.call(`${DESK}/Scatter`, { to: [one, two], amount: 2, synchronous: true });
    expect((await client.call(`${LEDGER}/Get`, { id: two })).output).toMatchObject({ balance: 2 });
  });

  it('calls an entity of its function by the client of the SDK, as nobody else may', async () => {
    const id = fresh();
    expect((await client.call(`${DESK}/Ask`, { id, amount: 3 })).output).toMatchObject({ id, balance: 3 });
    expect(await failure(client.call(`${LEDGER}/AddAlone`, { id, amount: 3 }))).toMatchObject({
      code: 'PERMISSION_DENIED',
    });
    expect((await client.call(`${DESK}/Ask`, { id, amount: 4 })).output).toMatchObject({ id, balance: 7 });
  });

  it('streams out', async () => {
    const stream = client.stream(`${DESK}/Count`);
    stream.end({ n: 3 });
    expect(await everything(stream)).toEqual([{ text: '1' }, { text: '2' }, { text: '3' }]);
  });

  it('tells of a failure in the middle of a stream', async () => {
    const stream = client.stream(`${DESK}/Count`);
    stream.end({ n: 101 });
    expect(await failure(everything(stream))).toEqual({ code: 'UNKNOWN', details: 'too many' });
  });

  it('streams in', async () => {
    const stream = client.stream(`${DESK}/Collect`);
    for (const text of ['a', 'b', 'c']) stream.write({ text });
    stream.end();
    expect(await everything(stream)).toEqual([{ text: 'a b c' }]);
  });

  it('streams both ways, each message at once', async () => {
    const stream = client.stream(`${DESK}/Chat`);
    const answers = stream[Symbol.asyncIterator]();
    for (const text of ['x', 'y']) {
      stream.write({ text });
      expect(await answers.next()).toEqual({ done: false, value: { text } });
    }
    stream.end();
    expect(await answers.next()).toMatchObject({ done: true });
  });
});

describe('the port of the doors', () => {
  it('answers unknown services and methods with UNIMPLEMENTED', async () => {
    const raw = new grpc.Client(at, grpc.credentials.createInsecure());
    const same = (bytes: Buffer) => bytes;
    for (const path of ['/no.Such/Thing', `/${LEDGER}/Nothing`]) {
      const sent = new Promise((resolve, reject) => {
        raw.makeUnaryRequest(path, same, same, Buffer.alloc(0), (error) =>
          error === null ? resolve(0) : reject(error),
        );
      });
      expect(await failure(sent)).toMatchObject({ code: 'UNIMPLEMENTED' });
    }
    raw.close();
  });

  it('speaks HTTP/1.1 too', async () => {
    const id = fresh();
    const response = await fetch(`http://${at}/${LEDGER}/Add`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ id, amount: 9 }),
    });
    expect([response.status, await response.json()]).toEqual([200, expect.objectContaining({ id, balance: 9 })]);
  });

  it('tells by reflection what is served, with everything that a client needs to call it', async () => {
    for (const version of ['v1', 'v1alpha']) {
      const name = `grpc.reflection.${version}.ServerReflection`;
      const raw = new grpc.Client(at, grpc.credentials.createInsecure());
      const same = (bytes: Buffer) => bytes;
      const stream = raw.makeBidiStreamRequest(`/${name}/ServerReflectionInfo`, same, same);
      const answers = stream[Symbol.asyncIterator]();
      const ask = async (field: number, text: string) => {
        stream.write(Buffer.from([(field << 3) | 2, text.length, ...Buffer.from(text)]));
        return (await answers.next()).value as Buffer;
      };
      const services = await ask(7, '');
      for (const service of [name, LEDGER, BOX, DESK]) expect(services.includes(service)).toBe(true);
      const files = await ask(4, `${LEDGER}.Add`);
      for (const file of ['trouble.proto', 'kalix/annotations.proto']) expect(files.includes(file)).toBe(true);
      // No file for what is not known.
      expect((await ask(4, 'no.Such')).includes('trouble.proto')).toBe(false);
      expect((await ask(3, 'no-such.proto')).includes('not known')).toBe(true);
      stream.end();
      expect((await answers.next()).done).toBe(true);
      raw.close();
    }
  });

  it('tells its health, of all services and of one', async () => {
    const raw = new grpc.Client(at, grpc.credentials.createInsecure());
    const same = (bytes: Buffer) => bytes;
    const check = (service: string) =>
      new Promise<Buffer>((resolve, reject) => {
        const request = Buffer.from([0x0a, service.length, ...Buffer.from(service)]);
        raw.makeUnaryRequest('/grpc.health.v1.Health/Check', same, same, request, (error, answer) =>
          answer === undefined ? reject(error) : resolve(answer),
        );
      });
    expect([...(await check(''))]).toEqual([8, 1]);
    expect([...(await check(LEDGER))]).toEqual([8, 1]);
    expect(await failure(check('no.Such'))).toMatchObject({ code: 'NOT_FOUND' });
    raw.close();
  });

  it('goes on serving with many connections that say nothing', async () => {
    const [host, port] = at.split(':') as [string, string];
    const silent = Array.from({ length: 1_000 }, () => net.connect(Number(port), host));
    await Promise.all(silent.map((socket) => once(socket, 'connect')));
    expect((await client.call(`${DESK}/Echo`, { text: 'still here' })).output).toEqual({ text: 'still here' });
    for (const socket of silent) socket.destroy();
  });
});
