import { beforeEach, describe, expect, it } from 'vitest';
import { createGate, type Gate } from '../../src/engine/gate.ts';
import { createItem, publishing } from '../../src/engine/item.ts';
import { Shard } from '../../src/engine/shard.ts';
import type { Command } from '../../src/model/command.ts';
import { inputRecord } from '../support/records.ts';

const LIMITS = { maxRecords: 4, maxBytes: 1_000_000 };

let shard: Shard;
let gate: Gate;
/** What the consumer was told, in order. */
let told: string[];
/** Shards that were said to stand until something is known. */
let awaited: number[];

beforeEach(() => {
  told = [];
  awaited = [];
  shard = new Shard(
    { number: 3, epoch: 1, applied: { carts: 41n, commands: 5n }, chunk: 0, emitted: 0, shardSeq: 0 },
    {},
    LIMITS,
  );
  gate = createGate({
    shards: () => [shard],
    consumer: () => ({
      seek: (topic, partition, offset) => void told.push(`seek ${topic}/${partition} to ${offset}`),
      pause: (partition) => void told.push(`pause ${partition}`),
      resume: (partition) => void told.push(`resume ${partition}`),
    }),
    signals: { schemaAwaited: (number) => void awaited.push(number) },
  });
});

/** Takes in as many records as fill the shard. */
function fill(): void {
  for (let i = 0; i < LIMITS.maxRecords; i++) {
    const item = createItem(shard, inputRecord({ offset: 41n + BigInt(i) }), {} as Command);
    item.decision = publishing([]);
    shard.add(item);
  }
}

/** Everything that it took in is in the journal and on its topics. */
function empty(): void {
  const chunk = shard.takeChunk(100, 1_000_000)?.chunk;
  if (chunk === undefined) throw new Error('there is nothing to journal');
  shard.journaled(chunk.number);
  shard.emitted(chunk.number, chunk.to);
}

function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

describe('an open shard', () => {
  it('is read from what it has not accepted yet, in every topic', () => {
    fill();
    gate.follow(shard);
    expect(told).toEqual(['seek carts/3 to 45', 'seek commands/3 to 5', 'resume 3']);
  });

  it('is paused while it is full, once, and goes on when there is room', () => {
    gate.regulate(shard);
    expect(told).toEqual([]);
    fill();
    gate.regulate(shard);
    gate.regulate(shard);
    expect(told).toEqual(['pause 3']);
    empty();
    gate.regulate(shard);
    expect(told).toEqual(['pause 3', 'resume 3']);
  });

  it('is paused while it is halted before a record, and while the group does not know it', () => {
    shard.unknownToGroup = true;
    gate.regulate(shard);
    const item = createItem(shard, inputRecord(), {} as Command);
    shard.halts.set(item, { topic: 'carts', offset: '41', code: 'FUNCTION_FAILED', error: '', since: '' } as never);
    shard.unknownToGroup = false;
    gate.regulate(shard);
    expect(told).toEqual(['pause 3']);
    shard.halts.clear();
    gate.regulate(shard);
    expect(told).toEqual(['pause 3', 'resume 3']);
  });

  it('that is held is still read, for what entities send each other, and is sought again when it is let go', () => {
    gate.hold(true);
    expect(shard.gated).toBe(true);
    expect(told).toEqual([]);
    gate.hold(false);
    expect(shard.gated).toBe(false);
    // What the input topics brought meanwhile was not taken.
    expect(told).toEqual(['seek carts/3 to 41', 'seek commands/3 to 5', 'resume 3']);
  });

  it('that is drained or stopped is left alone', () => {
    fill();
    shard.state = 'draining';
    gate.regulate(shard);
    gate.hold(true);
    shard.state = 'stopped';
    gate.hold(false);
    expect(told).toEqual([]);
  });
});

describe('a shard that stands until something is known', () => {
  it('takes nothing in until all of it is, and is then sought where it stood', async () => {
    const [first, second] = [deferred(), deferred()];
    gate.standUntil(shard, first.promise);
    gate.standUntil(shard, second.promise);
    gate.regulate(shard);
    expect(awaited).toEqual([3]);
    expect(shard.awaitsSince).toBeTypeOf('number');
    expect(told).toEqual(['pause 3']);
    first.resolve();
    await first.promise;
    expect(told).toEqual(['pause 3']);
    second.resolve();
    await second.promise;
    expect(told).toEqual(['pause 3', 'seek carts/3 to 41', 'seek commands/3 to 5', 'resume 3']);
    expect(shard.awaitsSince).toBeUndefined();
  });

  it('is left alone when it was stopped meanwhile', async () => {
    const known = deferred();
    gate.standUntil(shard, known.promise);
    shard.state = 'stopped';
    known.resolve();
    await known.promise;
    expect(told).toEqual([]);
  });
});
