import { setTimeout as delay } from 'node:timers/promises';
import type { Kafka } from 'kafkajs';
import { asBuffer } from '../bytes.ts';
import type { InputRecord, OutputRecord } from '../model/record.ts';
import type { OpenTransaction } from './open-transactions.ts';
import { openPartitionLogs, type PartitionLogs } from './partition-log.ts';

/** How far apart the clocks of Postgres, the brokers and other processes may be, in ms. */
const CLOCK_SKEW_MS = 600_000;
/** How long, and how often, transactions of others are waited for: they take milliseconds, and a timeout where their process has died. */
const STABLE_WAIT_MS = 15_000;
const STABLE_POLL_MS = 50;

/**
 * Whether a reader of committed records sees one of these outputs, as this producer wrote it at some time after `after`, ms
 * since the epoch. All their topics must be there.
 */
export async function isSomeVisible(
  kafka: Kafka,
  wanted: { readonly producerId: bigint; readonly outputs: readonly OutputRecord[]; readonly after: number },
): Promise<boolean> {
  const { producerId, outputs, after } = wanted;
  if (outputs.length === 0) return false;
  const topics = [...new Set(outputs.map(({ topic }) => topic))];
  const places = contentsByPartition(outputs);
  const logs = await openPartitionLogs(kafka, topics);
  try {
    const ranges = await logs.ranges(topics);
    const since = await logs.since(topics, Math.max(0, after - CLOCK_SKEW_MS));
    const never = new AbortController().signal;
    for (const { topic, partition, contents } of places.values()) {
      const from = since.get(topic)?.get(partition);
      const to = ranges.get(topic)?.get(partition)?.stable;
      if (from === undefined || to === undefined) continue;
      for await (const records of logs.read({ topic, partition, from, to, producerId }, never)) {
        if (isAmong(contents, records)) return true;
      }
    }
    return false;
  } finally {
    await logs.close();
  }
}

/**
 * Those of the outputs that a reader of committed records sees, written by whomever at some time after `after`, ms since the epoch; and those
 * that retention may have removed since. Waits until what is on their partitions by now is committed or aborted. All their topics must be there.
 * @throws Error where a transaction stays open on one of them.
 */
export async function seenOutputs(
  kafka: Kafka,
  { outputs, after }: { readonly outputs: readonly OutputRecord[]; readonly after: number },
): Promise<ReadonlySet<OutputRecord>> {
  const seen = new Set<OutputRecord>();
  if (outputs.length === 0) return seen;
  const topics = [...new Set(outputs.map(({ topic }) => topic))];
  const logs = await openPartitionLogs(kafka, topics);
  try {
    const ends = await stableEnds(logs, contentsByPartition(outputs));
    const since = await logs.since(topics, Math.max(0, after - CLOCK_SKEW_MS));
    const never = new AbortController().signal;
    for (const { topic, partition, contents, low, to } of ends) {
      const from = since.get(topic)?.get(partition) ?? to;
      if (low > 0n && from <= low) {
        for (const output of [...contents.values()].flat()) seen.add(output);
        continue;
      }
      for await (const records of logs.read({ topic, partition, from, to }, never)) {
        for (const { key, value, headers } of records) {
          const output = contents.get(content(key, value, pairs(headers)))?.shift();
          if (output !== undefined) seen.add(output);
        }
      }
    }
    return seen;
  } finally {
    await logs.close();
  }
}

/** How far each of the places is written by now, when all of that is committed or aborted. */
async function stableEnds(
  logs: PartitionLogs,
  places: ReadonlyMap<string, Place>,
): Promise<(Place & { readonly low: bigint; readonly to: bigint })[]> {
  const topics = [...new Set([...places.values()].map(({ topic }) => topic))];
  const written = await logs.ranges(topics);
  const ends = [...places.values()].map((place) => {
    const { low, high } = written.get(place.topic)?.get(place.partition) ?? { low: 0n, high: 0n };
    return { ...place, low, to: high };
  });
  const giveUp = performance.now() + STABLE_WAIT_MS;
  for (let now = written; ; now = await logs.ranges(topics)) {
    const open = ends.find(({ topic, partition, to }) => (now.get(topic)?.get(partition)?.stable ?? 0n) < to);
    if (open === undefined) return ends;
    if (performance.now() > giveUp) {
      throw new Error(
        `a transaction stays open on "${open.topic}" partition ${open.partition} below offset ${open.to}`,
      );
    }
    await delay(STABLE_POLL_MS);
  }
}

/** Whether some of these outputs is in what one producer has open on its partitions. All their topics must be there. */
export async function isSomeOpen(
  kafka: Kafka,
  wanted: { readonly open: readonly OpenTransaction[]; readonly outputs: readonly OutputRecord[] },
): Promise<boolean> {
  const places = contentsByPartition(wanted.outputs);
  const open = wanted.open.filter(({ topic, partition }) => places.has(`${topic}/${partition}`));
  if (open.length === 0) return false;
  const topics = [...new Set(open.map(({ topic }) => topic))];
  const logs = await openPartitionLogs(kafka, topics);
  try {
    const ranges = await logs.ranges(topics);
    const never = new AbortController().signal;
    for (const { topic, partition, producerId, begins } of open) {
      const contents = places.get(`${topic}/${partition}`)?.contents ?? new Map<string, OutputRecord[]>();
      const to = ranges.get(topic)?.get(partition)?.high ?? begins;
      const at = { topic, partition, from: begins, to, producerId, uncommitted: true };
      for await (const records of logs.read(at, never)) if (isAmong(contents, records)) return true;
    }
    return false;
  } finally {
    await logs.close();
  }
}

interface Place {
  readonly topic: string;
  readonly partition: number;
  /** Outputs by their content: several may be alike, as the answers to one caller may. */
  readonly contents: Map<string, OutputRecord[]>;
}

function contentsByPartition(outputs: readonly OutputRecord[]): Map<string, Place> {
  const places = new Map<string, Place>();
  for (const output of outputs) {
    const { topic, partition, key, value, headers } = output;
    const at = `${topic}/${partition}`;
    const place = places.get(at) ?? { topic, partition, contents: new Map<string, OutputRecord[]>() };
    places.set(at, place);
    const text = content(key, value, headers);
    const alike = place.contents.get(text);
    if (alike === undefined) place.contents.set(text, [output]);
    else alike.push(output);
  }
  return places;
}

function isAmong(contents: Place['contents'], records: readonly InputRecord[]): boolean {
  return records.some(({ key, value, headers }) => contents.has(content(key, value, pairs(headers))));
}

/** Equal for equal records, whatever order their headers come in. */
function content(key: Uint8Array | null, value: Uint8Array | null, headers: OutputRecord['headers']): string {
  const text = (bytes: Uint8Array | string | null): string | null =>
    bytes === null ? null : (typeof bytes === 'string' ? Buffer.from(bytes) : asBuffer(bytes)).toString('base64');
  return JSON.stringify([text(key), text(value), headers.map(([name, held]) => `${name}=${text(held)}`).sort()]);
}

function pairs(headers: InputRecord['headers']): [string, Buffer | string][] {
  return Object.entries(headers).flatMap(([name, held]) =>
    (Array.isArray(held) ? held : held === undefined ? [] : [held]).map((value): [string, Buffer | string] => [
      name,
      value,
    ]),
  );
}
