import { describe, expect, it } from 'vitest';
import { ShardControl } from '../../src/engine/control.ts';
import { createItem, type Item, publishing } from '../../src/engine/item.ts';
import type { LoadedControl, Place } from '../../src/model/control.ts';
import type { OutputRecord } from '../../src/model/record.ts';

const KEY = { entityType: 'carts', entityId: 'c' };
const WHY = { reason: 'because', by: 'jo' };
const shard = { isReady: () => false, publish: () => undefined };
let offset = 0n;

/** A command of the entity as it arrives, with the place that it was put back from. */
function arrived(place?: Place): Item {
  const record = { topic: 'in', partition: 0, offset: offset++, key: null, value: null, headers: {}, timestamp: 0 };
  return createItem(shard, record, undefined, undefined, { place });
}

function output(name: string): OutputRecord {
  return { topic: 'commands', partition: 0, key: null, value: Buffer.from(name), headers: [] };
}

/** What becomes of a command: `go`, or parked at its place. */
function take(control: ShardControl, item: Item): 'go' | 'park' {
  control.comesBack(item);
  const way = control.arrives(item, KEY);
  if (way === 'go') item.decision = publishing([]);
  else park(control, item);
  return way;
}

function park(control: ShardControl, item: Item): void {
  const place = control.park(item, KEY);
  const command = { key: KEY, commandId: `c-${item.record.offset}`, record: new Uint8Array() };
  item.decision = { ...publishing([]), park: { ...command, ...(place && { place }) } };
}

/** A chunk of these items, journaled. */
function chunk(control: ShardControl, number: number, items: readonly Item[] = [arrivedNudge()]) {
  const taken = control.take(number, items);
  control.journaled(number);
  return taken;
}

const arrivedNudge = (): Item => {
  const item = arrived();
  item.decision = publishing([]);
  return item;
};

/** Paused, with three commands parked by chunk 1. */
function paused(): ShardControl {
  const control = new ShardControl(0);
  control.pause(KEY, WHY);
  const items = [arrived(), arrived(), arrived()];
  expect(items.map((item) => take(control, item))).toEqual(['park', 'park', 'park']);
  chunk(control, 1, items);
  return control;
}

const places: Place[] = [0, 1, 2].map((ordinal) => ({ chunk: 1, ordinal }));

/** Resumed, and the three put back by chunk 2. */
function puttingBack(): ShardControl {
  const control = paused();
  control.resume(KEY, WHY);
  expect(control.toPutBack()).toEqual([KEY]);
  control.putBack(
    KEY,
    places,
    places.map((_, i) => output(`p${i}`)),
  );
  chunk(control, 2);
  return control;
}

describe('a shard without controlled entities', () => {
  it('lets every command go and writes nothing', () => {
    const control = new ShardControl(0);
    expect(take(control, arrived())).toBe('go');
    expect(control.wantsChunk()).toBe(false);
    expect(chunk(control, 1)).toBeUndefined();
  });
});

describe('a paused entity', () => {
  it('has its commands parked in the order of the chunk, by the chunk that writes that it is paused', () => {
    const control = new ShardControl(0);
    expect(control.pause(KEY, WHY)).toBe(true);
    expect(control.pause(KEY, WHY)).toBe(false);
    const items = [arrived(), arrived()];
    for (const item of items) take(control, item);
    const { writes } = chunk(control, 5, items) ?? {};
    expect(writes?.controls).toMatchObject([
      { key: KEY, state: 'paused', reason: 'because', by: 'jo', released: undefined },
    ]);
    expect(writes?.parked.map(({ place }) => place)).toEqual([
      { chunk: 5, ordinal: 0 },
      { chunk: 5, ordinal: 1 },
    ]);
    expect(control.parkedOf(KEY)).toBe(2);
    expect(chunk(control, 6)).toBeUndefined();
  });

  it('gives its first parked command up, once', () => {
    const control = paused();
    expect(control.startGivingUp(KEY)).toBe(true);
    expect(control.startGivingUp(KEY)).toBe(false);
    control.giveUp(KEY, { place: places[0] as Place, outputs: [output('letter')] });
    expect(control.wantsChunk()).toBe(true);
    expect(control.startGivingUp(KEY)).toBe(false);
    expect(chunk(control, 2)).toMatchObject({ writes: { unparked: [places[0]] }, outputs: [output('letter')] });
    expect(control.parkedOf(KEY)).toBe(2);
    expect(control.startGivingUp(KEY)).toBe(true);
  });
});

describe('a resumed entity', () => {
  it('with nothing parked goes on at once, and is written off with the next chunk', () => {
    const control = new ShardControl(0);
    control.pause(KEY, WHY);
    chunk(control, 1);
    control.resume(KEY, WHY);
    expect(control.toPutBack()).toEqual([]);
    expect(take(control, arrived())).toBe('go');
    expect(chunk(control, 2)?.writes.freed).toEqual([KEY]);
    expect(control.controlled).toBe(0);
  });

  it('reads what the journal has while more is being parked, and nothing again before that has left the journal', () => {
    const control = paused();
    control.resume(KEY, WHY);
    const late = arrived();
    take(control, late);
    control.take(2, [late]);
    expect(control.toPutBack()).toEqual([KEY]);
    control.putBack(KEY, places, []);
    control.take(3, [arrivedNudge()]);
    expect(control.toPutBack()).toEqual([]);
  });

  it('parks what is new behind what was put back, and lets go what comes back', () => {
    const control = puttingBack();
    expect(take(control, arrived(places[0]))).toBe('go');
    expect(take(control, arrived())).toBe('park');
    expect(take(control, arrived(places[1]))).toBe('go');
    expect(take(control, arrived(places[2]))).toBe('go');
    // One is parked: there will be another batch.
    expect(take(control, arrived())).toBe('park');
  });

  it('is as all others from the arrival of the last one on, and written off by the chunk that has it', () => {
    const control = puttingBack();
    const back = places.map(arrived);
    for (const item of back) expect(take(control, item)).toBe('go');
    expect(take(control, arrived())).toBe('go');
    expect(chunk(control, 3, back.slice(0, 2))).toBeUndefined();
    expect(chunk(control, 4, back.slice(2))?.writes).toMatchObject({ freed: [KEY], controls: [] });
  });

  it('puts nothing more back before the last one is in the journal', () => {
    const control = puttingBack();
    take(control, arrived());
    const back = places.map(arrived);
    for (const item of back) take(control, item);
    expect(control.toPutBack()).toEqual([]);
    control.take(3, back);
    expect(control.toPutBack()).toEqual([]);
    control.journaled(3);
    expect(control.toPutBack()).toEqual([KEY]);
  });

  it('holds the input topics back while its last batch is on its way, for a while', () => {
    const control = puttingBack();
    const now = performance.now();
    expect(control.isGated(now)).toBe(true);
    expect(control.isGated(now + 60_000)).toBe(false);
    take(control, arrived());
    expect(control.isGated(now)).toBe(false);
  });

  it('goes on where what comes back has become something else', () => {
    const control = puttingBack();
    for (const place of places.slice(0, 2)) take(control, arrived(place));
    const unreadable = arrived(places[2]);
    control.comesBack(unreadable);
    unreadable.decision = publishing([]);
    expect(chunk(control, 3, [unreadable])?.writes.freed).toEqual([KEY]);
  });
});

describe('an entity that is paused while it is resumed', () => {
  it('parks what comes back at its old place, and the rest of the batch after it even when it is resumed again', () => {
    const control = puttingBack();
    const first = arrived(places[0]);
    expect(take(control, first)).toBe('go');
    control.pause(KEY, WHY);
    const second = arrived(places[1]);
    expect(take(control, second)).toBe('park');
    expect(second.decision?.park?.place).toEqual(places[1]);
    control.resume(KEY, WHY);
    const third = arrived(places[2]);
    expect(take(control, third)).toBe('park');
    expect(third.decision?.park?.place).toEqual(places[2]);
    expect(control.toPutBack()).toEqual([]);
    const taken = chunk(control, 3, [first, second, third]);
    expect(taken?.writes.parked.map(({ place }) => place)).toEqual([places[1], places[2]]);
    expect(taken?.writes.controls).toMatchObject([{ state: 'resuming', released: undefined }]);
    expect(control.toPutBack()).toEqual([KEY]);
  });

  it('keeps a batch in the journal that was read and not yet put back', () => {
    const control = paused();
    control.resume(KEY, WHY);
    control.toPutBack();
    control.putBack(KEY, places, [output('p')]);
    control.pause(KEY, WHY);
    expect(chunk(control, 2)).toMatchObject({ writes: { unparked: [] }, outputs: [] });
    expect(control.parkedOf(KEY)).toBe(3);
  });

  it('stays paused where it was about to be written off', () => {
    const control = puttingBack();
    const back = places.map(arrived);
    for (const item of back) take(control, item);
    control.pause(KEY, WHY);
    const last = back[2] as Item;
    park(control, last);
    expect(last.decision?.park?.place).toEqual(places[2]);
    const taken = chunk(control, 3, back);
    expect(taken?.writes).toMatchObject({ freed: [], controls: [{ state: 'paused', released: undefined }] });
  });
});

describe('a new owner', () => {
  const loaded: LoadedControl = {
    key: KEY,
    ...WHY,
    state: 'resuming',
    since: 0,
    released: places[2],
    parked: 0,
    first: undefined,
  };

  it('goes on with what was put back', () => {
    const control = new ShardControl(2, [loaded]);
    expect(take(control, arrived(places[1]))).toBe('go');
    expect(take(control, arrived())).toBe('park');
    expect(take(control, arrived(places[2]))).toBe('go');
  });

  it('parks the rest of a batch of which something was parked again', () => {
    const control = new ShardControl(2, [{ ...loaded, parked: 1, first: places[0] }]);
    expect(take(control, arrived(places[1]))).toBe('park');
  });

  it('does not wait for what the command topic has lost', () => {
    const control = new ShardControl(2, [loaded]);
    control.forgetReleased();
    expect(control.toPutBack()).toEqual([]);
    expect(chunk(control, 3)?.writes.freed).toEqual([KEY]);
  });
});

it('an operation is journaled once, with what it publishes', () => {
  const control = new ShardControl(0);
  expect(control.isNew(7)).toBe(true);
  control.finish(7, 'put back', [output('letter')]);
  expect(control.isNew(7)).toBe(false);
  expect(control.wantsChunk()).toBe(true);
  expect(chunk(control, 1)).toMatchObject({
    writes: { done: [{ id: 7, outcome: 'put back' }] },
    outputs: [output('letter')],
  });
  expect(chunk(control, 2)).toBeUndefined();
});
