import { beforeEach, describe, expect, it } from 'vitest';
import { createItem, type Item, publishing } from '../../src/engine/item.ts';
import { Shard } from '../../src/engine/shard.ts';
import type { Command } from '../../src/model/command.ts';
import type { InputRecord, OutputRecord } from '../../src/model/record.ts';

const LIMITS = { maxRecords: 10, maxBytes: 100_000 };

let shard: Shard;
beforeEach(() => {
  shard = new Shard(
    { number: 3, epoch: 7, applied: { in: 100n, cmd: 5n }, chunk: 4, emitted: 4, shardSeq: 20 },
    { in: 100n, cmd: 5n },
    LIMITS,
  );
});

function record(topic: string, offset: bigint, value = 'v'): InputRecord {
  return { topic, partition: 3, offset, key: null, value: Buffer.from(value), headers: {}, timestamp: 0 };
}

function add(topic: string, offset: bigint): Item {
  const item = createItem(shard, record(topic, offset), {} as Command);
  shard.add(item);
  return item;
}

const output: OutputRecord = { topic: 'out', partition: 0, key: null, value: Buffer.from('12345'), headers: [] };
const event = (seq: number) => ({
  entityType: 't',
  entityId: 'e',
  seq,
  typeUrl: 'u',
  payload: Buffer.alloc(1),
  commandId: 'c',
});

describe('a shard’s window', () => {
  it('journals decided records in the order of arrival, up to the first that is undecided', () => {
    const [first, second, third] = [add('in', 100n), add('in', 103n), add('in', 104n)];
    second.decision = publishing([output]);
    expect(shard.isReady()).toBe(false);
    expect(shard.takeChunk(100, 1e6)).toBeUndefined();
    first.decision = { events: [event(1), event(2)], outputs: [output] };
    const taken = shard.takeChunk(100, 1e6);
    expect(taken?.items).toEqual([first, second]);
    expect(taken?.chunk).toMatchObject({
      shard: 3,
      epoch: 7,
      number: 5,
      from: { in: 100n, cmd: 5n },
      to: { in: 104n, cmd: 5n },
      firstShardSeq: 21,
      emittedThrough: 4,
    });
    expect(taken?.chunk.inputs).toEqual([first.record, second.record]);
    third.decision = publishing([]);
    expect(shard.takeChunk(100, 1e6)?.chunk).toMatchObject({ number: 6, from: { in: 104n }, firstShardSeq: 23 });
  });

  it('keeps a position for each topic', () => {
    for (const item of [add('in', 100n), add('cmd', 9n)]) item.decision = publishing([]);
    expect(shard.takeChunk(100, 1e6)?.chunk.to).toEqual({ in: 101n, cmd: 10n });
  });

  it('takes no more records into a chunk than it may', () => {
    for (let i = 0n; i < 5n; i++) add('in', 100n + i).decision = publishing([]);
    expect(shard.takeChunk(2, 1e6)?.items).toHaveLength(2);
    expect(shard.takeChunk(100, 1)?.items).toHaveLength(1);
  });

  it('publishes what follows a record with it, and before all others where the record is journaled already', () => {
    const told = (text: string): OutputRecord => ({ ...output, value: Buffer.from(text) });
    const first = add('in', 100n);
    first.decision = publishing([told('1')]);
    shard.publish([told('2')], first);
    const chunks = [shard.takeChunk(100, 1e6)];
    shard.publish([told('3')], first);
    const second = add('in', 101n);
    second.decision = publishing([told('4')]);
    shard.publish([told('5')], second);
    chunks.push(shard.takeChunk(100, 1));
    expect(chunks.map((taken) => taken?.chunk.outputs.map(({ value }) => String(value)))).toEqual([
      ['1', '2'],
      ['3', '4', '5'],
    ]);
  });

  it('keeps the last snapshot and the last value of each entity in a chunk', () => {
    const snapshot = (seq: number) => ({ entityType: 't', entityId: 'e', seq, typeUrl: 'u', payload: Buffer.alloc(1) });
    const value = (revision: number) => ({ entityType: 'v', entityId: 'e', revision, commandId: 'c' });
    add('in', 100n).decision = { events: [], outputs: [], snapshot: snapshot(50), value: value(1) };
    add('in', 101n).decision = { events: [], outputs: [], snapshot: snapshot(100), value: value(2) };
    const chunk = shard.takeChunk(100, 1e6)?.chunk;
    expect(chunk?.snapshots).toEqual([snapshot(100)]);
    expect(chunk?.values).toEqual([value(2)]);
  });

  it('is full until what it took in is emitted, not only journaled', () => {
    const items = Array.from({ length: 10 }, (_, i) => add('in', 100n + BigInt(i)));
    expect(shard.isFull()).toBe(true);
    for (const item of items) item.decision = publishing([output]);
    const chunk = shard.takeChunk(100, 1e6)?.chunk;
    expect(shard.isFull()).toBe(true);
    expect(shard.load.waiting.records).toBe(10);
    shard.emitted(5, chunk?.to ?? {});
    expect(shard.isFull()).toBe(false);
    expect(shard.hasRoom()).toBe(true);
    expect(shard.load).toEqual({ inFlight: { records: 0, bytes: 0 }, waiting: { records: 0, bytes: 0 } });
    expect(shard.committed).toEqual({ in: 110n, cmd: 5n });
  });

  it('gives back everything from the first record that was not started', () => {
    const [done, running, waiting, after] = [add('in', 100n), add('in', 101n), add('in', 102n), add('in', 103n)];
    done.decision = publishing([]);
    running.running = true;
    after.decision = publishing([]);
    expect(shard.cutUnstarted()).toEqual([waiting, after]);
    running.running = false;
    running.decision = publishing([]);
    expect(shard.takeChunk(100, 1e6)?.chunk.to).toMatchObject({ in: 102n });
    expect(shard.isEmpty()).toBe(true);
  });

  it('has nothing to journal once it is stopped', () => {
    add('in', 100n).decision = publishing([]);
    shard.state = 'stopped';
    expect(shard.takeChunk(100, 1e6)).toBeUndefined();
  });
});
