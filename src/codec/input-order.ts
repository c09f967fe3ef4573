import { Reader, Writer } from 'protobufjs/minimal.js';
import { unreadable } from './unreadable.ts';

/**
 * In which order records of several topics were applied: runs of records of one topic, each as two varints, the topic's
 * place among the sorted names of `topics` and how many records. Undefined: they are of one topic, or there are none.
 */
export function encodeInputOrder(
  topics: readonly string[],
  records: readonly { readonly topic: string }[],
): Uint8Array | undefined {
  const first = records[0]?.topic;
  if (records.every(({ topic }) => topic === first)) return undefined;
  const places = new Map([...topics].sort().map((topic, place) => [topic, place]));
  const writer = Writer.create();
  for (let start = 0, end = 1; start < records.length; end++) {
    const topic = records[start]?.topic;
    if (records[end]?.topic === topic && end < records.length) continue;
    const place = places.get(topic ?? '');
    if (place === undefined) throw new RangeError(`"${topic}" is none of the topics ${topics.join(', ')}`);
    writer.uint32(place).uint32(end - start);
    start = end;
  }
  return writer.finish();
}

/** The runs that `encodeInputOrder` wrote. Throws JOURNAL_UNREADABLE for bytes that it did not write for these topics. */
export function decodeInputOrder(topics: readonly string[], bytes: Uint8Array): { topic: string; count: number }[] {
  return unreadable('An order of inputs', bytes, () => {
    const names = [...topics].sort();
    const reader = Reader.create(bytes);
    const runs: { topic: string; count: number }[] = [];
    while (reader.pos < reader.len) {
      const place = reader.uint32();
      const topic = names[place];
      if (topic === undefined) throw new RangeError(`a run is of topic ${place} of ${names.length}`);
      runs.push({ topic, count: reader.uint32() });
    }
    return runs;
  });
}
