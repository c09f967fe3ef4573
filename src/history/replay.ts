import type pg from 'pg';
import { createEncoder, type Encode } from '../codec/encode.ts';
import { decodeOutbox } from '../codec/outbox.ts';
import { StateferryError } from '../errors.ts';
import type { FunctionVersion } from '../journal/function-versions.ts';
import { typeNameOf } from '../model/payload.ts';
import type { OutputRecord } from '../model/record.ts';
import { readDescriptors } from '../protocol/descriptors.ts';
import type { Transactor } from '../topics/transactor.ts';
import { retargeted } from './retarget.ts';

/** Events that are read at once, and records that one transaction takes, about. */
const BATCH = 500;

/** By this header a reader tells what was published again. Its value is the name of the replay. */
export const REPLAY_HEADER = 'stateferry-replay';

/** What of the journal is published again; absent: all of it. */
export interface ReplaySelection {
  readonly entityType?: string;
  readonly entityId?: string;
  readonly since?: Date;
  readonly until?: Date;
  readonly shard?: number;
}

export interface ReplayOptions {
  readonly pool: pg.Pool;
  readonly generation: number;
  readonly deployment: string;
  readonly name: string;
  readonly selection: ReplaySelection;
  readonly target: { readonly topic: string; readonly format: 'json' | 'protobuf'; readonly partitions: number };
  /** Publish recorded outputs instead of events; of this topic alone, where it is a name. */
  readonly outputs: boolean | string;
  /** Newest first: what payloads are written by, and which service an entity type is of. */
  readonly versions: readonly FunctionVersion[];
  /** Topic of the offsets that say how far each shard was replayed: one with a partition for each of them. */
  readonly progressTopic: string;
  /** How far each shard was replayed: shard → position (shard_seq of events, chunk of outputs). */
  readonly done: ReadonlyMap<number, number>;
  /** Absent: nothing is published, what would be is counted. */
  readonly transactor: Transactor | undefined;
  readonly pace: (records: number) => Promise<void>;
  /** So many more records were published, or counted. */
  readonly onRecords: (records: number) => void;
  readonly signal: AbortSignal;
}

/**
 * Publishes journaled events, or outputs that the outbox still has, to a topic: each once, in order per entity, under their
 * keys and with their headers as they were, and `stateferry-replay`. No function is called. A transaction publishes records
 * together with how far the shard is, so a replay that was interrupted goes on exactly there. Answers how many records.
 * @throws StateferryError JOURNAL_UNREADABLE for a payload that no version of the function that ran can read.
 */
export async function replay(options: ReplayOptions): Promise<number> {
  const { pool, generation, selection } = options;
  const { rows } = await pool.query<{ shard: number; shard_seq: number; chunk: number }>(
    'select shard, shard_seq, chunk from shard where generation = $1 and ($2::int is null or shard = $2) order by shard',
    [generation, selection.shard ?? null],
  );
  let count = 0;
  for (const { shard, shard_seq, chunk } of rows) {
    const read =
      options.outputs === false ? eventBatches(options, shard, shard_seq) : outputBatches(options, shard, chunk);
    for await (const { records, through } of read) {
      options.signal.throwIfAborted();
      if (options.transactor !== undefined) {
        await options.pace(records.length);
        const offsets = new Map([[shard, { [options.progressTopic]: BigInt(through) }]]);
        await options.transactor.commit({ outputs: records, offsets });
      }
      count += records.length;
      options.onRecords(records.length);
    }
  }
  return count;
}

interface Batch {
  readonly records: readonly OutputRecord[];
  /** Position of the shard that they lead to. */
  readonly through: number;
}

interface EventRow {
  entity_type: string;
  entity_id: string;
  shard_seq: number;
  type_url: string;
  payload: Buffer;
  command_id: string;
  nth: number;
}

async function* eventBatches(options: ReplayOptions, shard: number, end: number): AsyncGenerator<Batch> {
  const { pool, generation, selection, deployment, target } = options;
  const encode = encoderOf(options.versions);
  const serviceOf = new Map(
    [...options.versions]
      .reverse()
      .flatMap(({ components }) => components.map((c) => [c.entityType, c.service] as const)),
  );
  // Their events are changes in our own form, which nobody but us can read.
  const replicated = options.versions.flatMap(({ components }) =>
    components.filter(({ kind }) => kind === 'replicated').map(({ entityType }) => entityType),
  );
  for (let after = options.done.get(shard) ?? 0; after < end; ) {
    const { rows } = await pool.query<EventRow>(
      `select e.entity_type, e.entity_id, e.shard_seq, e.type_url, e.payload, e.command_id,
              e.seq - (select min(f.seq) from event f
                       where f.generation = e.generation and f.entity_type = e.entity_type and f.entity_id = e.entity_id
                         and f.seq > e.seq - 1000 and f.seq <= e.seq and f.command_id = e.command_id) + 1 as nth
       from event e
       where e.generation = $1 and e.shard = $2 and e.shard_seq > $3 and e.shard_seq <= $4
         and ($5::text is null or e.entity_type = $5) and ($6::text is null or e.entity_id = $6)
         and ($7::timestamptz is null or e.at >= $7) and ($8::timestamptz is null or e.at < $8)
         and e.entity_type <> all($10::text[])
       order by e.shard_seq limit $9`,
      [
        generation,
        shard,
        after,
        end,
        selection.entityType ?? null,
        selection.entityId ?? null,
        selection.since ?? null,
        selection.until ?? null,
        BATCH,
        replicated,
      ],
    );
    const records = rows.map((row) => {
      const key = Buffer.from(row.entity_id);
      const record = encode({
        destination: target,
        key,
        payload: { typeUrl: row.type_url, value: row.payload },
        metadata: [],
        ce: {
          id: `${row.command_id}/event-${row.nth}`,
          source: `/${deployment}/${serviceOf.get(row.entity_type) ?? row.entity_type}`,
          subject: row.entity_id,
        },
        origin: row.command_id,
      });
      const mark = [REPLAY_HEADER, options.name] as const;
      return { ...record, headers: [...record.headers, mark] };
    });
    after = rows.length < BATCH ? end : (rows.at(-1)?.shard_seq ?? end);
    yield { records, through: after };
  }
}

async function* outputBatches(options: ReplayOptions, shard: number, end: number): AsyncGenerator<Batch> {
  const { pool, generation, selection, target, outputs } = options;
  for (let after = options.done.get(shard) ?? 0; after < end; ) {
    const { rows } = await pool.query<{ chunk: number; records: Buffer }>(
      `select chunk, records from outbox
       where generation = $1 and shard = $2 and chunk > $3 and chunk <= $4
         and ($5::timestamptz is null or at >= $5) and ($6::timestamptz is null or at < $6)
       order by chunk limit 1`,
      [generation, shard, after, end, selection.since ?? null, selection.until ?? null],
    );
    const [row] = rows;
    if (row === undefined) return;
    const records = decodeOutbox(row.records)
      .filter((record) => outputs === true || record.topic === outputs)
      .filter(
        ({ key }) =>
          selection.entityId === undefined || (key !== null && Buffer.from(key).toString() === selection.entityId),
      )
      .map((record) => retargeted(record, target, [REPLAY_HEADER, options.name]));
    after = row.chunk;
    yield { records, through: after };
  }
}

/** Writes a payload by the newest version that can. */
function encoderOf(versions: readonly FunctionVersion[]): Encode {
  const encoders = versions.map(({ descriptors }) => {
    const read = readDescriptors(descriptors);
    return { registry: read.registry, encode: createEncoder({ descriptors: read }) };
  });
  return (output) => {
    const name = typeNameOf(output.payload.typeUrl);
    const knowing = encoders.filter(({ registry }) => registry.getMessage(name) !== undefined);
    let failure: unknown;
    for (const { encode } of knowing.length === 0 ? encoders : knowing) {
      try {
        return encode(output);
      } catch (error) {
        failure ??= error;
      }
    }
    throw new StateferryError(
      'JOURNAL_UNREADABLE',
      `an event of type ${name} cannot be written: no version of the function that the journal knows has that type, or its bytes are not of it. ` +
        'Replay without it (--component), or as it is (--format protobuf).',
      { cause: failure },
    );
  };
}
