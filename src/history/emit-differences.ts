import type pg from 'pg';
import { decodeOutbox } from '../codec/outbox.ts';
import { streamRows } from '../journal/cursor.ts';
import type { Generation } from '../journal/generations.ts';
import { type Emission, keepDiffering, noteSelected, readDiffering } from '../journal/held-outputs.ts';
import type { OutputRecord } from '../model/record.ts';
import type { PartitionLogs } from '../topics/partition-log.ts';
import type { Transactor } from '../topics/transactor.ts';
import { digestOf, type ItemSurroundings, outboxRecords, outputItem, topicRecord } from './diff-items.ts';
import { earlierGiven, isGiven } from './diff-range.ts';
import { DiffTable } from './diff-table.ts';
import { retargeted } from './retarget.ts';

/** Outbox rows that are read at once: they may hold 4 MiB each. */
const ROWS = 20;
/** Places of outputs that are noted at once. */
const PLACES = 5_000;

/** By this header a reader tells what was published by `promote --emit-differences`. Its value is the name of the generation. */
export const DIFFERENCE_HEADER = 'stateferry-difference';

export interface SelectOptions {
  readonly client: pg.ClientBase;
  /** Of the topics that the generation publishes to, and of the source's command topic. */
  readonly logs: PartitionLogs;
  readonly deployment: string;
  readonly generation: Pick<Generation, 'generation' | 'options'>;
  readonly emission: Emission;
  readonly topics: {
    /** That the generation's outputs are for, and that exist. */
    readonly outputs: readonly string[];
    readonly commands: string;
    /** Of the generation while it was made. */
    readonly madeCommands: string;
    readonly answers: string;
    readonly deadLetters: string;
  };
  readonly onNote: (note: string) => void;
  readonly onProgress: (step: string, items: number) => void;
  readonly signal: AbortSignal;
}

/** Topics of the outputs that are held of a generation. */
export async function heldTopics(client: pg.ClientBase, generation: number): Promise<Set<string>> {
  const topics = new Set<string>();
  for await (const { records } of heldRows(client, generation)) {
    for (const { topic } of decodeOutbox(records)) topics.add(topic);
  }
  return topics;
}

/**
 * Finds which of the outputs that are held differ, as `diff` does, and lets go the others, in one transaction. What entities send
 * each other, answers to callers and dead letters are no outputs here.
 */
export async function selectDifferences(options: SelectOptions): Promise<void> {
  const { client, logs, deployment, generation, emission, topics, onNote, onProgress, signal } = options;
  const surroundings: ItemSurroundings = {
    deployment,
    entityTypes: new Map(),
    answers: topics.answers,
    deadLetters: topics.deadLetters,
    content: (record) => digestOf(record.key ?? '', record.value ?? ''),
  };
  await client.query('begin transaction isolation level repeatable read');
  try {
    const table = await DiffTable.create(client);
    const wanted = new Set(topics.outputs);
    let made = 0;
    for await (const row of heldRows(client, emission.generation)) {
      signal.throwIfAborted();
      for (const { record, place } of outboxRecords(row)) {
        if (!wanted.has(record.topic)) continue;
        const at = { topic: record.topic, commandTopic: topics.madeCommands, place };
        const item = outputItem(record, at, surroundings);
        if (item?.what === 'outputs') await table.add('made', item);
      }
      onProgress('outputs of the new generation', ++made);
    }
    const given = { logs, commands: topics.commands, shards: emission.ranges, signal };
    const earlier = generation.options.state === undefined ? new Set<string>() : await earlierGiven(given);
    const range = { shards: emission.ranges, later: new Set<string>(), earlier };
    let read = 0;
    for (const [topic, partitions] of await logs.ranges(topics.outputs)) {
      for (const [partition, { low, stable }] of partitions) {
        if (low > 0n) {
          onNote(
            `retention has removed the offsets below ${low} of "${topic}" partition ${partition}: what the new generation has of what was there counts as a difference`,
          );
        }
        for await (const records of logs.read({ topic, partition, from: low, to: stable }, signal)) {
          for (const one of records) {
            const { record, place } = topicRecord(one);
            const item = outputItem(record, { topic, commandTopic: topics.commands, place }, surroundings);
            if (item?.what !== 'outputs') continue;
            if (isGiven({ commandId: item.commandId, isCommand: false }, range)) await table.add('source', item);
          }
          read += records.length;
          onProgress('outputs on the topics', read);
        }
      }
    }
    await table.match();
    for await (const places of table.differing(PLACES)) {
      signal.throwIfAborted();
      await keepDiffering(client, emission.generation, places.map(placeOf));
    }
    await noteSelected(client, emission.generation);
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw error;
  }
}

/** As `outboxRecords` says where a record is. */
function placeOf(place: string): { shard: number; chunk: number; ordinal: number } {
  const [shard = 0, chunk = 0, ordinal = 0] = place.split('/').map(Number);
  return { shard, chunk, ordinal };
}

interface Row {
  readonly shard: number;
  readonly chunk: number;
  readonly records: Buffer;
}

/** The client must be in a transaction. */
function heldRows(client: pg.ClientBase, generation: number): AsyncGenerator<Row> {
  const query = 'select shard, chunk, records from held_output where generation = $1 order by shard, chunk';
  return streamRows<Row & pg.QueryResultRow>(client, query, [generation], ROWS);
}

export interface PublishOptions {
  readonly pool: pg.Pool;
  readonly emission: Emission;
  /** Of the generation. */
  readonly name: string;
  /** Of the topic. */
  readonly partitions: number;
  /** Topic of the offsets that say how far each shard was published: one with a partition for each of them. */
  readonly progressTopic: string;
  /** Chunks of each shard up to which it was published. */
  readonly done: ReadonlyMap<number, number>;
  readonly transactor: Transactor;
  readonly onRecords: (records: number) => void;
  readonly signal: AbortSignal;
}

/**
 * Publishes what differs, with keys, values and headers as they would have been, and `stateferry-difference`: each once, in order
 * per entity. A transaction publishes records together with how far the shard is, so what was interrupted goes on exactly there.
 */
export async function publishDifferences(options: PublishOptions): Promise<void> {
  const { pool, emission, name, partitions, progressTopic, done, transactor, onRecords, signal } = options;
  const target = { topic: emission.topic, partitions };
  for (const shard of emission.ranges.keys()) {
    for (let after = done.get(shard) ?? 0; ; ) {
      signal.throwIfAborted();
      const rows = await readDiffering(pool, { generation: emission.generation, shard, after, limit: ROWS });
      const last = rows.at(-1);
      if (last === undefined) break;
      const outputs: OutputRecord[] = [];
      for (const { records, differing } of rows) {
        const all = decodeOutbox(records);
        for (const ordinal of differing) {
          const record = all[ordinal];
          if (record !== undefined) outputs.push(retargeted(record, target, [DIFFERENCE_HEADER, name]));
        }
      }
      await transactor.commit({ outputs, offsets: new Map([[shard, { [progressTopic]: BigInt(last.chunk) }]]) });
      onRecords(outputs.length);
      after = last.chunk;
    }
  }
}
