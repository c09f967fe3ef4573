import { randomBytes } from 'node:crypto';
import { createTopics } from '../src/topics/ensure.ts';
import { type Counters, createCounters } from './counter.ts';
import type { Ground } from './ground.ts';
import { createPublisher, type Publisher } from './publisher.ts';
import { createReader, type Reader } from './reader.ts';

/** A case's own topics, with the load at one end and the check at the other. */
export interface Scene {
  /** Unlike any other's: letters, digits and dashes. */
  readonly id: string;
  readonly input: string;
  readonly output: string;
  readonly counters: Counters;
  readonly publisher: Publisher;
  readonly reader: Reader;
  /** Reads to the end what is there, when nobody writes any more, and answers what is wrong with it. */
  verdict(): Promise<string[]>;
  /** Deletes the topics. */
  close(): Promise<void>;
}

export async function openScene(
  ground: Ground,
  options: { readonly name: string; readonly entities: number; readonly partitions: number },
): Promise<Scene> {
  const { kafka } = ground;
  const id = `bench-${options.name}-${randomBytes(4).toString('hex')}`;
  const input = `${id}-in`;
  const output = `${id}-out`;
  const counters = createCounters(options.entities, options.partitions);
  const admin = kafka.admin();
  await admin.connect();
  await createTopics(
    admin,
    [input, output].map((topic) => ({ topic, numPartitions: options.partitions })),
  );
  const publisher = await createPublisher({ kafka, topic: input, counters });
  const reader = await createReader({ kafka, topic: output, counters });
  return {
    id,
    input,
    output,
    counters,
    publisher,
    reader,
    async verdict() {
      await reader.drain();
      const problems = [...reader.problems];
      if (reader.wrong > problems.length)
        problems.push(`and ${reader.wrong - problems.length} more outputs were wrong`);
      if (reader.outputs !== publisher.published) {
        problems.push(`${publisher.published} commands gave ${reader.outputs} outputs`);
      }
      return problems.map((problem) => `${options.name}: ${problem}`);
    },
    async close() {
      await Promise.all([reader.close(), publisher.close()]);
      const ours = (await admin.listTopics()).filter((topic) => topic.startsWith(id));
      await admin.deleteTopics({ topics: ours });
      await admin.disconnect();
    },
  };
}
