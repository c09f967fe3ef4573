import type { JsonValue } from '@bufbuild/protobuf';
import { type ClientDuplexStream, type ServiceError, status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { freePorts } from '../../src/local/ports.ts';
import { partitionFor } from '../../src/topics/partition.ts';
import type { DoorClient } from '../support/door-client.ts';
import { compileEngine, startEngine } from '../support/engine-process.ts';
import { eventually } from '../support/processes.ts';
import { fileScope } from '../support/scope.ts';
import { replyWith } from '../support/scripted-function.ts';
import { startRuntime } from '../support/start-runtime.ts';
import { ask, clientOf, faults, query, settings } from './deployment.ts';
import { startTally, TALLY, type TallyFunction, type TallyScript } from './tally.ts';

const file = fileScope();

/** What a caller who watches an entity is told, and how it ends. */
interface Watch {
  readonly told: number[];
  readonly ended: Promise<string>;
  cancel(): void;
}

function watch(client: DoorClient, id: string): Watch {
  const stream: ClientDuplexStream<JsonValue, JsonValue> = client.stream(`${TALLY}/Watch`, { deadlineMs: 60_000 });
  const told: number[] = [];
  const ended = new Promise<string>((resolve) => {
    stream.on('data', (count: { value?: number }) => told.push(count.value ?? 0));
    stream.on('error', (error: ServiceError) => resolve(`${status[error.code]}: ${error.details}`));
    stream.on('end', () => resolve('OK'));
  });
  stream.write({ id });
  stream.end();
  return { told, ended, cancel: () => stream.cancel() };
}

const has = (one: Watch, told: readonly number[]) =>
  eventually(`${told} is told`, () => one.told.length >= told.length).then(() => expect(one.told).toEqual(told));

describe.each(['cloudstate-first', 'cloudstate'] as const)('a streamed command of %s', async (dialect) => {
  const cancelled: number[] = [];
  const script = {
    onCancelled: undefined as TallyScript['onCancelled'],
  };
  const fn: TallyFunction = await startTally(file, dialect, {
    onCommand(command, tally, self) {
      const answer = (more: object = {}) => ({
        reply: { command_id: command.id, ...replyWith(self.pack('tally.Count', { value: tally.value })), ...more },
      });
      if (command.name !== 'AddLate') return 'as ever';
      // Watchers are told after the reply.
      tally.value += Number(command.input.amount);
      const member = { pncounter: { change: Number(command.input.amount) } };
      tally.entity.send(answer({ state_action: { update: member } }));
      for (const id of tally.watchers) {
        const message = replyWith(self.pack('tally.Count', { value: tally.value }));
        tally.entity.send({ streamed_message: { command_id: id, ...message } });
      }
      return undefined;
    },
    onCancelled(id, tally) {
      cancelled.push(id);
      return script.onCancelled?.(id, tally);
    },
  });
  const config = await settings(file, fn);
  const runtime = startRuntime(file, config);
  const at = await runtime.doors();
  const client = await clientOf(file, at);

  it('tells of each change that others make, told before the reply or after it, to each who watches', async () => {
    await ask(client, 'Add', 'a', 1);
    const [one, other] = [watch(client, 'a'), watch(client, 'a')];
    await Promise.all([has(one, [1]), has(other, [1])]);
    await ask(client, 'Add', 'a', 2);
    await ask(client, 'AddLate', 'a', 4);
    await Promise.all([has(one, [1, 3, 7]), has(other, [1, 3, 7])]);
    one.cancel();
    expect(await one.ended).toMatch('CANCELLED');
    await eventually('the function knows', () => fn.tally('a').watchers.size === 1);
    expect(await ask(client, 'Add', 'a', 1)).toBe(8);
    await has(other, [1, 3, 7, 8]);
    expect(one.told).toEqual([1, 3, 7]);
    other.cancel();
    await eventually('the function knows', () => fn.tally('a').watchers.size === 0);
  });

  it('is told by HTTP, too, and cancelled when the connection is closed', async () => {
    await ask(client, 'Add', 'h', 2);
    const connection = new AbortController();
    const response = await fetch(`http://${at}/${TALLY}/Watch`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'text/event-stream' },
      body: JSON.stringify({ id: 'h' }),
      signal: connection.signal,
    });
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    const reads = async (wanted: string) => {
      while (!text.includes(wanted)) text += (await reader?.read())?.value ?? '';
    };
    await reads('data: {"value":2}');
    await ask(client, 'Add', 'h', 3);
    await reads('data: {"value":5}');
    connection.abort();
    await eventually('the function knows', () => fn.tally('h').watchers.size === 0);
  });

  it('ends with UNAVAILABLE when the function goes away, which has the value again when it is back', async () => {
    await ask(client, 'Add', 'f', 2);
    const one = watch(client, 'f');
    await has(one, [2]);
    fn.kill();
    expect(await one.ended).toMatch('UNAVAILABLE');
    await fn.restart();
    await eventually('it is back', () =>
      ask(client, 'Get', 'f').then(
        (value) => value === 2,
        () => false,
      ),
    );
  });

  it('ends when the function says so, and with a deletion', async () => {
    await ask(client, 'Add', 'b', 5);
    const [one, other] = [watch(client, 'b'), watch(client, 'b')];
    await Promise.all([has(one, [5]), has(other, [5])]);
    const { entity, watchers } = fn.tally('b');
    const [first] = watchers;
    const last = replyWith(fn.pack('tally.Count', { value: 99 }));
    entity.send({ streamed_message: { command_id: first, ...last, end_stream: true } });
    const ended = await Promise.race([one.ended, other.ended]);
    expect(ended).toBe('OK');
    expect([one.told, other.told].map((told) => told.join()).sort()).toEqual(['5', '5,99']);
    await ask(client, 'Delete', 'b');
    expect(await Promise.all([one.ended, other.ended])).toEqual(['OK', 'OK']);
    expect(await ask(client, 'Get', 'b')).toBe(0);
  });

  it('holds nobody up when many leave, of whom the function says nothing', async () => {
    await ask(client, 'Add', 'm', 1);
    const all = Array.from({ length: 8 }, () => watch(client, 'm'));
    await Promise.all(all.map((one) => has(one, [1])));
    for (const one of all) one.cancel();
    await Promise.all(all.map((one) => one.ended));
    // One after the other, they would take a second each.
    const { output } = await client.call(`${TALLY}/Add`, { id: 'm', amount: 1 }, { deadlineMs: 5_000 });
    expect(output).toEqual({ value: 2 });
    await eventually('the function knows', () => fn.tally('m').watchers.size === 0);
  });

  it('is cancelled in its place among the commands, and what the function does then counts', async () => {
    await ask(client, 'Add', 'c', 5);
    script.onCancelled = (id, tally) => {
      tally.value += 100;
      return {
        stream_cancelled_response: { command_id: id, state_action: { update: { pncounter: { change: 100 } } } },
      };
    };
    const one = watch(client, 'c');
    await has(one, [5]);
    one.cancel();
    await eventually('it counts', async () => (await ask(client, 'Get', 'c')) === 105);
    script.onCancelled = undefined;
    expect(await query(config, `select count(*)::int as events from event where entity_id = 'c'`)).toEqual([
      { events: 2 },
    ]);
  });

  it('ends with UNAVAILABLE when its entity is opened anew, and nothing of a failed command is told', async () => {
    await ask(client, 'Add', 'd', 5);
    const one = watch(client, 'd');
    await has(one, [5]);
    await expect(ask(client, 'AddThenFail', 'd', 1)).rejects.toMatchObject({ details: 'as told' });
    expect(await one.ended).toMatch('UNAVAILABLE');
    expect(one.told).toEqual([5]);
    const again = watch(client, 'd');
    await has(again, [5]);
    again.cancel();
    await again.ended;
  });

  it('holds before verify', async () => {
    await runtime.stop();
    expect(await faults(config)).toEqual([]);
  });
});

describe('a streamed command whose door and whose owner are two processes', async () => {
  const fn = await startTally(file, 'cloudstate');
  const program = await compileEngine(file);
  const [port] = (await freePorts(1)) as [number];
  const config = { ...(await settings(file, fn)), 'kafka.sessionTimeoutMs': 3_000, 'kafka.heartbeatIntervalMs': 300 };
  const start = async (shards: number, doors: number) => {
    const engine = await startEngine(file, { program, config: { ...config, 'doors.port': doors } });
    await engine.ready((status) => status.shards.length === shards);
    return engine;
  };
  const doorOf = async (at: string) => {
    const client = await clientOf(file, at);
    await eventually('the doors are open', () =>
      ask(client, 'Get', 'x').then(
        () => true,
        () => false,
      ),
    );
    return client;
  };

  it('ends with UNAVAILABLE at the next renewal when the owner is killed, and begins again with what was committed', async (t) => {
    const doomed = await start(2, 0);
    const runtime = startRuntime(t, config);
    const client = await clientOf(t, await runtime.doors());
    await doomed.ready(({ shards }) => shards.length === 1);
    await runtime.ready();
    const own = new Set(runtime.status().shards.map(({ shard }) => shard));
    const id =
      ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].find((one) => !own.has(partitionFor(Buffer.from(one), 2))) ?? '';
    for (let n = 1; n <= 3; n++) await ask(client, 'Add', id, 1);
    const one = watch(client, id);
    await has(one, [3]);
    await ask(client, 'Add', id, 1);
    await has(one, [3, 4]);
    doomed.kill('SIGKILL');
    expect(await one.ended).toMatch('UNAVAILABLE');
    const again = watch(client, id);
    await has(again, [4]);
    await ask(client, 'Add', id, 1);
    await has(again, [4, 5]);
    again.cancel();
    await again.ended;
    await runtime.stop();
    expect(await faults(config)).toEqual([]);
  });

  it('is cancelled at the function when its door is gone for 30 s', async (t) => {
    const runtime = startRuntime(t, config);
    await runtime.ready();
    const door = await start(1, port);
    const client = await doorOf(`127.0.0.1:${port}`);
    const own = new Set(runtime.status().shards.map(({ shard }) => shard));
    const id = ['k', 'l', 'm', 'n', 'o', 'p', 'q', 'r'].find((one) => own.has(partitionFor(Buffer.from(one), 2))) ?? '';
    const one = watch(client, id);
    await has(one, [0]);
    expect(fn.tally(id).watchers.size).toBe(1);
    door.kill('SIGKILL');
    expect(await one.ended).toMatch('UNAVAILABLE');
    await eventually('the function knows', () => fn.tally(id).watchers.size === 0, 60_000);
    await runtime.stop();
    expect(await faults(config)).toEqual([]);
  });

  it('ends with UNAVAILABLE when both are killed, and begins again with what was committed', async () => {
    const first = await start(2, port);
    const client = await doorOf(`127.0.0.1:${port}`);
    for (let n = 1; n <= 110; n++) await ask(client, 'Add', 'z', 1);
    const one = watch(client, 'z');
    await has(one, [110]);
    first.kill('SIGKILL');
    expect(await one.ended).toMatch('UNAVAILABLE');
    const second = await start(2, port);
    const back = await doorOf(`127.0.0.1:${port}`);
    const again = watch(back, 'z');
    await has(again, [110]);
    await ask(back, 'Add', 'z', 1);
    await has(again, [110, 111]);
    again.cancel();
    await again.ended;
    await second.stop();
    expect(await faults(config)).toEqual([]);
  });
});
