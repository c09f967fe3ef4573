import { InvalidArgumentError } from 'commander';

/** Kafka itself allows more; a topic with so many partitions is a slip of the finger. */
const MAX_PARTITIONS = 100_000;

/** Reads the value of `--partitions`. */
export function partitionsOf(text: string): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= 1 && count <= MAX_PARTITIONS) return count;
  throw new InvalidArgumentError(`It is not a number of partitions (1 to ${MAX_PARTITIONS}).`);
}
