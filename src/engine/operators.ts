import type { Logger } from 'pino';
import { decodeOutbox } from '../codec/outbox.ts';
import { fromPlace, readPutBack } from '../codec/put-back.ts';
import { messageOf, StateferryError } from '../errors.ts';
import type { Operation, ParkedCommand } from '../model/control.ts';
import type { EntityKey } from '../model/entity.ts';
import type { InputRecord, OutputRecord } from '../model/record.ts';
import type { Entities } from './entities.ts';
import type { Item } from './item.ts';
import type { Poison } from './poison.ts';
import type { Shard } from './shard.ts';

/** How often the journal is asked what operators want. */
const POLL_MS = 1_000;
/** How soon it is asked again where there was something: there may be more than it tells at once. */
const MORE_MS = 200;

/** What the journal tells of operators' wishes and of parked commands (journal/control.ts). */
export interface ControlStore {
  operations(shards: readonly number[]): Promise<Operation[]>;
  /** The first parked commands of an entity, in order; without `limit` as many as are put back together. */
  parked(key: EntityKey, limit?: number): Promise<ParkedCommand[]>;
}

export interface OperatorsOptions {
  readonly store: ControlStore;
  /** Open shards of this process. */
  readonly shards: () => Iterable<Shard>;
  readonly entities: Pick<Entities, 'head' | 'waiting'>;
  readonly poison: Pick<Poison, 'parkWaiting' | 'giveUp' | 'letterOf' | 'fits' | 'tryAgain'>;
  /** Called for each shard with each look at the journal. */
  readonly looked: (shard: Shard) => void;
  /** Something of the shard waits for a chunk (`ShardControl.wantsChunk`). */
  readonly wanted: (shard: Shard) => void;
  readonly log: Logger;
}

/** Carries out what operators ask for, as far as the shards of this process are concerned. */
export interface Operators {
  /** Looks at once, and from now on every second. */
  start(): void;
  /** Takes up what a shard's opening has found. */
  opened(shard: Shard, operations: readonly Operation[]): void;
  /** Something of the shard was journaled or emitted: there may be parked commands to put back. */
  tend(shard: Shard): void;
  /** Why a command that has just failed is to be skipped, if an operator wants that; the operation is then done. */
  takeSkip(shard: Shard, item: Item): StateferryError | undefined;
  stop(): void;
}

type EntityOperation = Extract<Operation, { readonly key: EntityKey }>;

export function createOperators(options: OperatorsOptions): Operators {
  const { store, entities, poison, log } = options;
  /** By command that is at the function: the operation that wants it skipped, if it fails. */
  const skips = new Map<Item, Operation>();
  let timer: NodeJS.Timeout | undefined;
  let more: NodeJS.Timeout | undefined;
  let stopped = true;
  let looking = false;

  async function look(): Promise<void> {
    if (looking || stopped) return;
    looking = true;
    try {
      const open = new Map([...options.shards()].map((shard) => [shard.number, shard]));
      if (open.size === 0) return;
      const operations = await store.operations([...open.keys()]);
      let isNews = false;
      for (const [number, shard] of open) {
        if (stopped || shard.state !== 'running') continue;
        const own = operations.filter((operation) => operation.shard === number);
        isNews ||= own.some(({ id }) => shard.control.isNew(id));
        carryOut(shard, own);
        tend(shard);
        options.looked(shard);
      }
      if (isNews && !stopped) more = setTimeout(() => void look(), MORE_MS).unref();
    } catch (error) {
      // What is wrong with the journal shows where it is needed; here it only delays.
      log.debug({ error: messageOf(error) }, 'Looking for what operators ask failed');
    } finally {
      looking = false;
    }
  }

  function carryOut(shard: Shard, operations: readonly Operation[]): void {
    for (const operation of operations) {
      if (!shard.control.isNew(operation.id)) continue;
      const outcome = outcomeOf(shard, operation);
      if (outcome === undefined) continue;
      log.info(
        { shard: shard.number, kind: operation.kind, by: operation.by, outcome: outcome.text },
        'Did what an operator asked for',
      );
      shard.control.finish(operation.id, outcome.text, outcome.outputs);
    }
    if (shard.control.wantsChunk()) options.wanted(shard);
  }

  /** Undefined: not yet, or it is finished elsewhere. */
  function outcomeOf(
    shard: Shard,
    operation: Operation,
  ): { readonly text: string; readonly outputs?: readonly OutputRecord[] } | undefined {
    const why = { reason: operation.reason, by: operation.by };
    switch (operation.kind) {
      case 'pause':
        if (!shard.control.pause(operation.key, why)) return { text: 'it was paused already' };
        poison.parkWaiting(shard, entities.waiting(operation.key));
        return { text: 'paused' };
      case 'resume':
        return { text: shard.control.resume(operation.key, why) ? 'resumed' : 'it was not paused' };
      case 'skip':
        return skip(shard, operation);
      case 'shard-resume': {
        if (shard.halts.size === 0) return { text: 'it was not halted' };
        const commands = [...shard.halts.keys()].filter((item) => item.command !== undefined);
        for (const item of commands) poison.tryAgain(shard, item);
        return {
          text:
            commands.length > 0 ? `tried ${commands.map(nameOf).join(', ')} again` : 'a record cannot be read: skip it',
        };
      }
      case 'shard-skip': {
        const item = shard.firstHalted();
        if (item === undefined) return { text: 'it was not halted' };
        poison.giveUp(shard, item, skippedBy(operation, shard.halts.get(item)));
        return { text: `skipped ${nameOf(item)}` };
      }
      case 'retry':
        return retry(operation.record);
    }
  }

  function skip(shard: Shard, operation: EntityOperation): { text: string } | undefined {
    const asked = [...skips].find(([, other]) => other.id === operation.id)?.[0];
    if (asked !== undefined) {
      if (asked.shard === shard && asked.decision === undefined) return undefined;
      skips.delete(asked);
      if (asked.shard === shard) return { text: `${nameOf(asked)} was carried out meanwhile` };
    }
    const head = entities.head(operation.key);
    if (head?.running === true) {
      skips.set(head, operation);
      return undefined;
    }
    if (head !== undefined) {
      poison.giveUp(shard, head, skippedBy(operation, shard.halts.get(head)));
      return { text: `skipped ${nameOf(head)}` };
    }
    if (shard.control.parkedOf(operation.key) === 0) return { text: 'nothing of it waits' };
    if (shard.control.startGivingUp(operation.key)) void skipParked(shard, operation);
    return undefined;
  }

  function retry(record: Uint8Array): { text: string; outputs?: readonly OutputRecord[] } {
    try {
      const outputs = decodeOutbox(record);
      if (outputs.every(poison.fits)) return { text: 'put back', outputs };
      return { text: 'not put back: the command topic takes no record of this size (max.message.bytes)' };
    } catch (error) {
      return { text: `not put back: ${messageOf(error)}` };
    }
  }

  async function skipParked(shard: Shard, operation: EntityOperation): Promise<void> {
    const [parked] = await read(shard, operation.key, 1);
    if (parked === undefined) {
      shard.control.giveUp(operation.key, undefined);
      return;
    }
    const [record] = decodeOutbox(parked.record);
    const outputs = record === undefined ? [] : poison.letterOf(originOf(record), skippedBy(operation, undefined));
    shard.control.giveUp(operation.key, { place: parked.place, outputs });
    shard.control.finish(operation.id, `skipped ${parked.commandId}`);
    options.wanted(shard);
  }

  function tend(shard: Shard): void {
    if (shard.state !== 'running') return;
    for (const key of shard.control.toPutBack()) void putBack(shard, key);
    if (shard.control.wantsChunk()) options.wanted(shard);
  }

  async function putBack(shard: Shard, key: EntityKey): Promise<void> {
    const parked = await read(shard, key);
    shard.control.putBack(
      key,
      parked.map(({ place }) => place),
      parked.flatMap(({ place, record }) => decodeOutbox(record).map((output) => fromPlace(output, place))),
    );
    if (shard.control.wantsChunk() && shard.state === 'running') options.wanted(shard);
  }

  /** Nothing where the journal is away: it is tried again with the next look. */
  async function read(shard: Shard, key: EntityKey, limit?: number): Promise<ParkedCommand[]> {
    try {
      return await store.parked(key, limit);
    } catch (error) {
      log.debug({ shard: shard.number, error: messageOf(error) }, 'Reading parked commands failed');
      return [];
    }
  }

  return {
    start() {
      stopped = false;
      timer ??= setInterval(() => void look(), POLL_MS);
      void look();
    },
    opened: carryOut,
    tend,
    takeSkip(shard, item) {
      const operation = skips.get(item);
      if (operation === undefined) return undefined;
      skips.delete(item);
      shard.control.finish(operation.id, `skipped ${nameOf(item)}`);
      return skippedBy(operation, undefined);
    },
    stop() {
      stopped = true;
      clearInterval(timer);
      clearTimeout(more);
      timer = undefined;
      skips.clear();
    },
  };
}

function skippedBy({ by, reason }: Operation, failed: { code: string; error: string } | undefined): StateferryError {
  const why = reason === '' ? '' : ` (${reason})`;
  const before = failed === undefined ? '' : `; it had failed: ${failed.code}, ${failed.error}`;
  return new StateferryError('SKIPPED_BY_OPERATOR', `${by} skipped it${why}${before}`);
}

function nameOf(item: Item): string {
  const { topic, partition, offset } = item.origin;
  return item.command?.id ?? `${topic}/${partition}/${offset}`;
}

/** The record that was parked, as it came first. */
function originOf(record: OutputRecord): InputRecord {
  const headers: Record<string, Buffer | (Buffer | string)[]> = {};
  for (const [name, value] of record.headers) {
    const held = Buffer.from(value);
    const before = headers[name];
    headers[name] = before === undefined ? held : [...(Array.isArray(before) ? before : [before]), held];
  }
  const bytes = (given: Uint8Array | null) => (given === null ? null : Buffer.from(given));
  const { topic, partition } = record;
  const input = {
    topic,
    partition,
    offset: -1n,
    key: bytes(record.key),
    value: bytes(record.value),
    headers,
    timestamp: 0,
  };
  return readPutBack(input)?.record ?? input;
}
