import type { Kafka } from 'kafkajs';
import { asBuffer } from '../bytes.ts';
import type { InputRecord, OutputRecord } from '../model/record.ts';
import type { OpenTransaction } from './open-transactions.ts';
import { openPartitionLogs } from './partition-log.ts';

/** How far apart the clocks of Postgres, the brokers and other processes may be, in ms. */
const CLOCK_SKEW_MS = 600_000;

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
      const contents = places.get(`${topic}/${partition}`)?.contents ?? new Set<string>();
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
  readonly contents: Set<string>;
}

function contentsByPartition(outputs: readonly OutputRecord[]): Map<string, Place> {
  const places = new Map<string, Place>();
  for (const { topic, partition, key, value, headers } of outputs) {
    const at = `${topic}/${partition}`;
    const place = places.get(at) ?? { topic, partition, contents: new Set() };
    places.set(at, place);
    place.contents.add(content(key, value, headers));
  }
  return places;
}

function isAmong(contents: ReadonlySet<string>, records: readonly InputRecord[]): boolean {
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
