import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import type { Config } from './config/config.ts';
import { StateferryError } from './errors.ts';
import { chunksFrom } from './journal/find-chunks.ts';
import {
  boundBySize,
  type Counted,
  countChunks,
  countEvents,
  cutsOf,
  EVENTS_PER_ENTITY,
  knownComponents,
  lockRetention,
  portionsOf,
  type Removal,
  type RemovedSoFar,
  type RetentionClient,
  type RetentionKind,
  readRemoved,
  removeChunks,
  removeEvents,
  type ShardBound,
  snapshotTypes,
  unlockRetention,
} from './journal/retention.ts';
import { type Hold, type RetainedShard, readHolds, retainedShards } from './journal/retention-holds.ts';

/** The database is left alone for so many times as long as each statement took, so that retention is a tenth of it at most. */
const REST = 9;
const REST_MAX_MS = 5_000;

type Rules = Config['journal']['retention'];
type Rule = Rules[number];

/** What one rule lets go: inputs, outputs, or events of one type. */
export interface RetentionScope {
  readonly kind: RetentionKind;
  /** Of events; else empty. */
  readonly entityType: string;
  readonly rule: Rule;
}

/**
 * The rules as they are for what the journal has: events of each type by the entry that names it, else by the one for all.
 * @throws StateferryError CONFIG_INVALID for a component that no version of the function ever had.
 */
export async function retentionScopes(
  client: RetentionClient,
  generation: number,
  rules: Rules,
): Promise<RetentionScope[]> {
  const known = await knownComponents(client);
  const scopes: RetentionScope[] = [];
  const named = new Set<string>();
  for (const rule of rules) {
    if (rule.what !== 'events') scopes.push({ kind: rule.what, entityType: '', rule });
    if (rule.component === undefined) continue;
    const found = known.filter(
      ({ entityType, service }) => entityType === rule.component || service === rule.component,
    );
    if (found.length === 0) {
      const names = [...new Set(known.map(({ entityType }) => entityType))].join(', ') || 'none';
      throw new StateferryError(
        'CONFIG_INVALID',
        `journal.retention names the component "${rule.component}", and the function never had one with events of that name: it has ${names}.`,
      );
    }
    for (const { entityType } of found) {
      if (named.has(entityType)) continue;
      named.add(entityType);
      scopes.push({ kind: 'events', entityType, rule });
    }
  }
  const all = rules.find(({ what, component }) => what === 'events' && component === undefined);
  if (all !== undefined) {
    for (const entityType of await snapshotTypes(client, generation)) {
      if (!named.has(entityType)) scopes.push({ kind: 'events', entityType, rule: all });
    }
  }
  // Outputs first: events wait for them.
  const order: readonly RetentionKind[] = ['outputs', 'inputs', 'values', 'events'];
  return scopes.sort((one, other) => order.indexOf(one.kind) - order.indexOf(other.kind));
}

/** How far a rule goes in each shard, whatever holds it back. */
async function boundsOf(
  client: RetentionClient,
  generation: number,
  { kind, entityType, rule }: RetentionScope,
  shards: readonly RetainedShard[],
  pause: () => Promise<void>,
): Promise<ShardBound[]> {
  const { maxAgeMs, maxBytesPerShard } = rule;
  const bounds = new Map(shards.map(({ shard }) => [shard, 0]));
  const raise = (shard: number, through: number) => bounds.set(shard, Math.max(through, bounds.get(shard) ?? 0));
  if (maxAgeMs !== undefined) {
    const { rows } = await client.query<{ at: Date }>("select now() - $1::float8 * interval '1 millisecond' as at", [
      maxAgeMs,
    ]);
    const young = await chunksFrom(
      { db: client, generation },
      rows[0]?.at ?? new Date(0),
      shards.map(({ shard }) => shard),
    );
    for (const [i, { shard, chunk, shardSeq }] of shards.entries()) {
      const first = young[i];
      if (first === undefined) raise(shard, kind === 'events' ? shardSeq : chunk);
      else raise(shard, kind === 'events' ? (first.before?.shardSeq ?? 0) : first.chunk - 1);
    }
  }
  if (maxBytesPerShard !== undefined) {
    for (const { shard } of shards) {
      const of = { generation, shard, kind, entityType, maxBytes: maxBytesPerShard };
      raise(shard, await boundBySize(client, of, pause));
    }
  }
  return shards.map(({ shard }) => ({ shard, through: bounds.get(shard) ?? 0 }));
}

function holdsOf(holds: readonly Hold[], { kind, entityType }: RetentionScope, shard: number): Hold[] {
  return holds.filter(
    (hold) =>
      hold.kind === kind && hold.shard === shard && (hold.entityType === undefined || hold.entityType === entityType),
  );
}

/** The bounds, as far as nothing holds back what is up to them. */
function withHolds(bounds: readonly ShardBound[], holds: readonly Hold[], scope: RetentionScope): ShardBound[] {
  return bounds
    .map(({ shard, through }) => ({
      shard,
      through: Math.min(through, ...holdsOf(holds, scope, shard).map((hold) => hold.through)),
    }))
    .filter(({ through }) => through > 0);
}

/** What a rule would remove, and what holds back the rest of what it is for. */
export interface RetentionForecast {
  readonly kind: RetentionKind;
  /** Of events; else empty. */
  readonly entityType: string;
  readonly removable: Removal;
  readonly heldBack: readonly (Removal & { readonly why: string })[];
}

/** What retention would do, and what it has done. */
export interface RetentionReport {
  readonly forecasts: readonly RetentionForecast[];
  readonly removed: readonly RemovedSoFar[];
}

/** Looks what the rules would remove now. Nothing is removed; all rows that they are for are read. */
export async function forecastRetention(
  client: RetentionClient,
  generation: number,
  rules: Rules,
): Promise<RetentionReport> {
  const shards = await retainedShards(client, generation);
  const holds = await readHolds(client, generation, shards);
  const forecasts: RetentionForecast[] = [];
  for (const scope of await retentionScopes(client, generation, rules)) {
    const { kind, entityType } = scope;
    const bounds = await boundsOf(client, generation, scope, shards, async () => undefined);
    const heldBack = new Map<string, Removal>();
    const free = { rows: 0, bytes: 0 };
    for (const bound of bounds) {
      const own = holdsOf(holds, scope, bound.shard);
      const of = { generation, bound, holds: own.map(({ through }) => through) };
      const counted =
        kind === 'events'
          ? await countEvents(client, { ...of, entityType })
          : await countChunks(client, { ...of, kind });
      for (const { hold, rows, bytes } of counted) {
        if (hold === null) add(free, { rows, bytes });
        else addTo(heldBack, whyOf(hold, own), { rows, bytes });
      }
    }
    let removable: Removal = free;
    if (kind === 'events') {
      removable = await sumOfCuts(client, generation, entityType, withHolds(bounds, holds, scope));
      const rest = { rows: free.rows - removable.rows, bytes: free.bytes - removable.bytes };
      if (rest.rows > 0) addTo(heldBack, 'it is of a command whose last events stay', rest);
    }
    forecasts.push({
      kind,
      entityType,
      removable,
      heldBack: [...heldBack].map(([why, held]) => ({ why, ...held })),
    });
  }
  return { forecasts, removed: await readRemoved(client, generation) };
}

function whyOf(hold: NonNullable<Counted['hold']>, holds: readonly Hold[]): string {
  if (hold === -2) return 'its entity has no snapshot';
  if (hold === -1) return 'it is not below the newest snapshot of its entity';
  return holds[hold]?.why ?? '';
}

async function sumOfCuts(
  client: RetentionClient,
  generation: number,
  entityType: string,
  bounds: readonly ShardBound[],
): Promise<Removal> {
  const sum = { rows: 0, bytes: 0 };
  for (let after: string | undefined = ''; after !== undefined; ) {
    const { cuts, last } = await cutsOf(client, { generation, entityType, bounds, after });
    for (const { from, through, bytes } of cuts) add(sum, { rows: through - from, bytes });
    after = last;
  }
  return sum;
}

/** Told of what was removed, a portion at a time. */
export type OnRemoved = (scope: RetentionScope, removal: Removal) => void;

/**
 * Removes what the rules let go, in portions, with pauses between them, under a lock that one process at a time has. What holds it
 * back is looked at again before each portion. False: another process is at it.
 */
export async function applyRetention(
  pool: pg.Pool,
  options: {
    readonly generation: number;
    readonly rules: Rules;
    readonly onRemoved: OnRemoved;
    readonly signal: AbortSignal;
  },
): Promise<boolean> {
  const { generation, rules, onRemoved, signal } = options;
  const client = await pool.connect();
  // The statement that was on its way tells of a lost connection.
  const ignore = () => undefined;
  client.on('error', ignore);
  let broken = true;
  try {
    const isFree = await lockRetention(client);
    if (isFree) {
      await remove(client, { generation, rules, onRemoved, signal });
      await unlockRetention(client);
    }
    broken = false;
    return isFree;
  } finally {
    client.off('error', ignore);
    // One that is closed gives its lock back.
    client.release(broken);
  }
}

async function remove(
  client: RetentionClient,
  { generation, rules, onRemoved, signal }: Parameters<typeof applyRetention>[1],
): Promise<void> {
  const resting = createRest(signal);
  const shards = await retainedShards(client, generation);
  for (const scope of await retentionScopes(client, generation, rules)) {
    const { kind, entityType } = scope;
    const bounds = await boundsOf(client, generation, scope, shards, resting);
    const present = async () =>
      withHolds(bounds, await readHolds(client, generation, await retainedShards(client, generation)), scope);
    if (kind !== 'events') {
      for (const { shard } of bounds) {
        for (;;) {
          const bound = (await present()).find((one) => one.shard === shard);
          const removal = bound && (await removeChunks(client, generation, kind, bound));
          if (removal === undefined || removal.rows === 0) break;
          onRemoved(scope, removal);
          await resting();
        }
      }
      continue;
    }
    for (let after: string | undefined = ''; after !== undefined; ) {
      const free = await present();
      if (free.length === 0) break;
      const page = await cutsOf(client, { generation, entityType, bounds: free, after, perEntity: EVENTS_PER_ENTITY });
      await resting();
      let gone = 0;
      for (const portion of portionsOf(page.cuts)) {
        const removal = await removeEvents(client, generation, entityType, portion);
        onRemoved(scope, removal);
        gone += removal.rows;
        await resting();
      }
      // An entity may have more than one look brings.
      const isCut = page.cuts.some(({ from, through }) => through - from > EVENTS_PER_ENTITY / 2);
      if (gone === 0 || !isCut) after = page.last;
    }
  }
}

/** Waits in proportion to what was done since it last waited. */
function createRest(signal: AbortSignal): () => Promise<void> {
  let since = performance.now();
  return async () => {
    const ms = Math.min((performance.now() - since) * REST, REST_MAX_MS);
    await delay(ms, undefined, { signal });
    since = performance.now();
  };
}

/** Applies the rules from time to time, until `stop`, which resolves when nothing is under way any more. */
export function keepRetained(options: {
  readonly pool: pg.Pool;
  readonly generation: number;
  readonly rules: Rules;
  readonly everyMs: number;
  readonly onRemoved: OnRemoved;
  readonly onError: (error: unknown) => void;
}): { stop(): Promise<void> } {
  const { everyMs, onError, ...rest } = options;
  const stopping = new AbortController();
  const { signal } = stopping;
  async function work(): Promise<void> {
    if (rest.rules.length === 0) return;
    while (!signal.aborted) {
      try {
        await delay(everyMs, undefined, { signal });
        await applyRetention(rest.pool, { ...rest, signal });
      } catch (error) {
        if (!signal.aborted) onError(error);
      }
    }
  }
  const ended = work();
  return {
    async stop() {
      stopping.abort();
      await ended;
    },
  };
}

function add(sum: { rows: number; bytes: number }, { rows, bytes }: Removal): void {
  sum.rows += rows;
  sum.bytes += bytes;
}

function addTo(sums: Map<string, Removal>, name: string, more: Removal): void {
  const { rows, bytes } = sums.get(name) ?? { rows: 0, bytes: 0 };
  sums.set(name, { rows: rows + more.rows, bytes: bytes + more.bytes });
}
