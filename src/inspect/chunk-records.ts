import { ORIGIN_HEADER, PUT_BACK_HEADER } from '../codec/header-names.ts';
import { decodeInputs } from '../codec/inputs.ts';
import { decodeOutbox } from '../codec/outbox.ts';
import type { InputRecord } from '../model/record.ts';
import { asOutput } from '../verify/identity.ts';
import { type ExplainedRecord, explainRecord } from './records.ts';
import type { History } from './scope.ts';

/** A chunk, by its shard and number. */
export interface ChunkPlace {
  readonly shard: number;
  readonly chunk: number;
  /** Digest of the function's version; null: it is not known. */
  readonly function: string | null;
}

/** An input record of a chunk, where the journal keeps them. */
export interface ExplainedInput extends ExplainedRecord {
  readonly offset: bigint;
  /** As the record carries it. */
  readonly writtenAt: Date;
  /** The command that it was: the record's place, or what the record says of itself. */
  readonly command: string;
  readonly place: ChunkPlace;
}

export interface ExplainedOutput extends ExplainedRecord {
  readonly place: ChunkPlace;
}

/** How many rows of records are held at a time: they may have 4 MiB each. */
const PAGE = 10;

/** Outputs of these chunks that the outbox still has, in order. */
export async function* outputsOf(history: History, places: readonly ChunkPlace[]): AsyncGenerator<ExplainedOutput> {
  for await (const { place, records } of rowsOf(history, 'outbox', places)) {
    for (const record of decodeOutbox(records)) yield { ...explainRecord(history, record, place.function), place };
  }
}

/** Inputs of these chunks, where they are kept, in order. */
export async function* inputsOf(history: History, places: readonly ChunkPlace[]): AsyncGenerator<ExplainedInput> {
  for await (const { place, records } of rowsOf(history, 'input', places)) {
    for (const record of decodeInputs(records)) yield explainInput(history, record, place);
  }
}

/** All that the outbox still has of a shard, oldest first. */
export async function* outputsOfShard(history: History, shard: number): AsyncGenerator<ExplainedOutput> {
  const { rows } = await history.db.query<ChunkPlace>(
    `select o.shard, o.chunk, c.function from outbox o left join chunk c using (generation, shard, chunk)
     where o.generation = $1 and o.shard = $2 order by o.chunk`,
    [history.generation, shard],
  );
  yield* outputsOf(history, rows);
}

function explainInput(history: History, record: InputRecord, place: ChunkPlace): ExplainedInput {
  const { topic, partition, offset } = record;
  const explained = explainRecord(history, { ...asOutput(record), topic, partition }, place.function);
  const header = (name: string) => explained.headers.find(([key]) => key === name)?.[1];
  const isOwn = topic === history.topics.commands;
  const origin = isOwn ? (header(ORIGIN_HEADER) ?? explained.command) : undefined;
  return {
    ...explained,
    kind: isOwn ? (header(PUT_BACK_HEADER) === undefined ? 'command' : 'put back') : 'record',
    offset,
    writtenAt: new Date(record.timestamp),
    command: origin ?? `${topic}/${partition}/${offset}`,
    place,
  };
}

async function* rowsOf(
  { db, generation }: History,
  table: 'outbox' | 'input',
  places: readonly ChunkPlace[],
): AsyncGenerator<{ readonly place: ChunkPlace; readonly records: Buffer }> {
  for (let at = 0; at < places.length; at += PAGE) {
    const page = places.slice(at, at + PAGE);
    const { rows } = await db.query<{ n: number; records: Buffer }>(
      `select p.n::int - 1 as n, t.records
       from unnest($2::int[], $3::bigint[]) with ordinality as p(shard, chunk, n)
       join ${table} t on t.generation = $1 and t.shard = p.shard and t.chunk = p.chunk order by p.n`,
      [generation, page.map(({ shard }) => shard), page.map(({ chunk }) => chunk)],
    );
    for (const { n, records } of rows) yield { place: page[n] as ChunkPlace, records };
  }
}
