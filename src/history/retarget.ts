import type { OutputRecord } from '../model/record.ts';
import { partitionFor } from '../topics/partition.ts';

/** The record as it goes to another topic: in its key's partition, marked by one header more. */
export function retargeted(
  record: OutputRecord,
  target: { readonly topic: string; readonly partitions: number },
  mark: readonly [name: string, value: string],
): OutputRecord {
  const { key } = record;
  const { topic, partitions } = target;
  const partition = key === null ? record.partition % partitions : partitionFor(Buffer.from(key), partitions);
  return { ...record, topic, partition, headers: [...record.headers, mark] };
}
