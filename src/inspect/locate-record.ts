import { StateferryError } from '../errors.ts';
import { readReach } from '../journal/chunks.ts';
import { chunksOfRecords, type FoundChunk } from '../journal/find-chunks.ts';
import type { History } from './scope.ts';

/** Where a record stands, or stood. */
export interface RecordPlace {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
}

/**
 * The chunk that applied a record; undefined: it is applied, and the journal does not remember its chunk.
 * @throws StateferryError OPERATION_REFUSED for a record that the deployment has not applied: of a topic that it does not
 * read, of a partition that there is not, not yet, or before it began.
 */
export async function locateRecord(
  history: Pick<History, 'db' | 'generation' | 'shards'>,
  place: RecordPlace,
): Promise<FoundChunk | undefined> {
  const { topic, partition, offset } = place;
  const reach = await readReach(history.db, history.generation);
  const topics = [...new Set(reach.flatMap(({ applied }) => Object.keys(applied)))].sort();
  if (!topics.includes(topic)) {
    const read = topics.length === 0 ? 'it has read none yet' : `it reads ${topics.join(', ')}`;
    throw refused(`the deployment reads no topic "${topic}": ${read}.`);
  }
  if (partition >= history.shards) {
    throw refused(
      `"${topic}" has no partition ${partition}: it has ${history.shards}, from 0 to ${history.shards - 1}.`,
    );
  }
  const row = reach.find(({ shard }) => shard === partition);
  const applied = row?.applied[topic] ?? 0n;
  if (offset >= applied) {
    throw refused(`${text(place)} is not applied yet: of that partition, all before ${applied} is.`);
  }
  const began = row?.start[topic] ?? 0n;
  const [found] = await chunksOfRecords(history, [place]);
  if (found === undefined && offset < began) {
    throw refused(`${text(place)} is not in this history: what is counted of that partition begins at ${began}.`);
  }
  // The first chunk reaches all that was before the deployment began, too.
  if (found?.chunk === 1 && offset < began) {
    throw refused(`${text(place)} was there before the deployment began to read, at ${began}, and was not applied.`);
  }
  return found;
}

function text({ topic, partition, offset }: RecordPlace): string {
  return `${topic}/${partition}/${offset}`;
}

function refused(sentence: string): StateferryError {
  return new StateferryError('OPERATION_REFUSED', sentence);
}
