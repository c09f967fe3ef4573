import { beforeEach, describe, expect, it } from 'vitest';
import { type Entity, newEntity } from '../../src/engine/entity.ts';
import { Loader } from '../../src/engine/loader.ts';
import type { StateferryError } from '../../src/errors.ts';
import type { EntitySession } from '../../src/functions/session.ts';
import type { EntityHead, StoredEvent } from '../../src/journal/load.ts';
import type { Component } from '../../src/model/component.ts';

/* What the loader brings of entities whose events are all there, and what it says of those that lack one. */

/** More than are read with one query. */
const LONG = 4_500;

interface Stored {
  head: EntityHead;
  /** Sequence numbers. */
  events: number[];
}

let journal: Map<string, Stored>;
/** What was said of each entity, in order. */
let said: string[];
/** Called each time that events are asked for. */
let onTails: () => void;
let loader: Loader;

const upTo = (last: number, first = 1) => Array.from({ length: last - first + 1 }, (_, i) => first + i);
const payload = { typeUrl: 'text', value: Buffer.alloc(0) };
const snapshotOf = (seq: number) => ({ seq, payload });

function store(entityId: string, events: number[], rest: Partial<EntityHead> = {}): void {
  journal.set(entityId, { head: { seq: events.at(-1) ?? 0, snapshot: undefined, voidThrough: 0, ...rest }, events });
}

function of(entityId: string): Stored {
  const found = journal.get(entityId);
  if (found === undefined) throw new Error(`there is no ${entityId}`);
  return found;
}

function entity(entityId: string, kind: Component['kind'] = 'event-sourced'): Entity {
  const component = { kind, service: 'shop.Carts', entityType: 'carts', methods: new Map() } as Component;
  const shard = { isReady: () => true, publish: () => undefined };
  return Object.assign(newEntity({ id: entityId, key: { entityType: 'carts', entityId }, component, shard }), {
    state: 'loading',
  });
}

function create(ignoreSnapshots = false): void {
  const replayed = (seqs: readonly number[]) => (seqs.length === 0 ? 'nothing' : `${seqs[0]} to ${seqs.at(-1)}`);
  const sessions = new Map<string, number[]>();
  loader = new Loader({
    ignoreSnapshots,
    store: {
      heads: async (keys) => keys.map(({ entityId }) => ({ ...of(entityId).head })),
      tails: async (wanted) => {
        onTails();
        return wanted.map(({ key, after, through }) =>
          of(key.entityId)
            .events.filter((seq) => seq > after && seq <= through)
            .map((seq): StoredEvent => ({ seq, payload })),
        );
      },
      values: async (keys) => keys.map(() => ({ revision: 3, payload: undefined })),
    },
    onValue: ({ id }, { revision }) => said.push(`${id}: revision ${revision}`),
    onHistory: ({ id }, { seq }, events) => said.push(`${id}: ${replayed(events.map((e) => e.seq))}, at ${seq}`),
    openLong: ({ id }) => {
      const seqs: number[] = [];
      sessions.set(id, seqs);
      return {
        replay: (seq: number) => seqs.push(seq),
        drained: async () => undefined,
      } as Partial<EntitySession> as EntitySession;
    },
    onReplayed: ({ id }) => said.push(`${id}: ${replayed(sessions.get(id) ?? [])}, page by page`),
    onChanged: ({ id }) => said.push(`${id}: changed`),
    onRefused: ({ id }, { code, message }: StateferryError) => said.push(`${id}: ${code}: ${message}`),
    onFailed: (error) => said.push(`failed: ${error}`),
  });
}

async function load(...entities: readonly Entity[]): Promise<void> {
  for (const one of entities) loader.add(one);
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
}

const REMEDY =
  'the function is given no state that lacks something. See with `stateferry verify` what is missing, and restore it from a backup.';

beforeEach(() => {
  journal = new Map();
  said = [];
  onTails = () => undefined;
  create();
});

describe('entities whose events are all there', () => {
  it('begin with nothing, behind their snapshot, or behind their deletion', async () => {
    store('new', []);
    store('old', upTo(9));
    store('snapped', upTo(9), { snapshot: snapshotOf(7) });
    store('just snapped', upTo(9), { snapshot: snapshotOf(9) });
    store('deleted', upTo(9), { voidThrough: 8 });
    await load(...[...journal.keys()].map((id) => entity(id)), entity('value', 'value'));
    expect(said.sort()).toEqual([
      'deleted: 9 to 9, at 9',
      'just snapped: nothing, at 9',
      'new: nothing, at 0',
      'old: 1 to 9, at 9',
      'snapped: 8 to 9, at 9',
      'value: revision 3',
    ]);
  });

  it('begin with their first event where the SDK starts from no snapshot, but for replicated ones', async () => {
    create(true);
    store('snapped', upTo(9), { snapshot: snapshotOf(7) });
    store('tally', upTo(9), { snapshot: snapshotOf(7) });
    await load(entity('snapped'), entity('tally', 'replicated'));
    expect(said).toEqual(['snapped: 1 to 9, at 9', 'tally: 8 to 9, at 9']);
  });

  it('have long histories replayed page by page', async () => {
    store('long', upTo(LONG));
    store('other', upTo(2));
    await load(entity('long'), entity('other'));
    expect(said).toEqual([`long: 1 to ${LONG}, page by page`, 'other: 1 to 2, at 2']);
  });

  it('are left alone when nobody waits for them any more', async () => {
    store('dropped', upTo(9));
    store('kept', upTo(2));
    const dropped = entity('dropped');
    onTails = () => {
      dropped.state = 'dropped';
    };
    await load(dropped, entity('kept'));
    expect(said).toEqual(['kept: 1 to 2, at 2']);
  });
});

describe('an entity that lacks an event', () => {
  it.each([
    ['the first one', [2, 3, 4], {}, 1],
    ['one in the middle', [1, 2, 4], {}, 3],
    ['the first behind its snapshot', [1, 2, 4], { snapshot: snapshotOf(2) }, 3],
    ['the last ones of those that the head tells of', [1, 2], { seq: 4 }, 3],
  ])('is refused: %s', async (_, events, rest, missing) => {
    store('broken', events, rest);
    store('whole', upTo(2));
    await load(entity('broken'), entity('whole'));
    expect(said.sort()).toEqual([
      `broken: ENTITY_UNREADABLE: the journal has no event ${missing} of carts "broken", whose last one is 4: ${REMEDY}`,
      'whole: 1 to 2, at 2',
    ]);
  });

  it('is refused when its snapshot is of an event that is not there any more', async () => {
    store('broken', upTo(5), { snapshot: snapshotOf(8) });
    await load(entity('broken'));
    expect(said).toEqual([
      `broken: ENTITY_UNREADABLE: the journal's last event of carts "broken" is 5, and its snapshot is of 8: ${REMEDY}`,
    ]);
  });

  it('is refused while a long history of it is replayed', async () => {
    store(
      'broken',
      upTo(LONG).filter((seq) => seq !== 3_000),
    );
    await load(entity('broken'));
    expect(said).toEqual([
      `broken: ENTITY_UNREADABLE: the journal has no event 3000 of carts "broken", whose last one is ${LONG}: ${REMEDY}`,
    ]);
  });
});

describe('an entity of which retention removes events while it is read', () => {
  it.each([
    ['a short history', 9],
    ['a long one', LONG],
  ])('is to be asked for again: %s', async (_, last) => {
    store('cut', upTo(last));
    onTails = () => store('cut', upTo(last, 6), { snapshot: snapshotOf(7), removedThrough: 5 });
    await load(entity('cut'));
    expect(said).toEqual(['cut: changed']);
    await load(entity('cut'));
    expect(said[1]).toMatch(`8 to ${last}`);
  });
});
