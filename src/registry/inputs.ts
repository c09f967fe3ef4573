import type { FramedReader } from '../model/framed.ts';
import type { InputRecord } from '../model/record.ts';
import type { RegistryClient } from './client.ts';
import { createTopicReader, type ReadTopic, type TopicReader } from './reading.ts';

/** Readers of all topics of the registry, and how they learn schemas. */
export interface RegistryInputs {
  /** By topic. */
  readonly readers: ReadonlyMap<string, FramedReader>;
  /**
   * What a record waits for before it can be read: that the registry says what its schema is. Undefined: nothing.
   * The promise never rejects; it is given up with `signal`.
   */
  awaits(record: InputRecord): Promise<void> | undefined;
}

/** Does something with the registry until it answers; says why it waits. Rejects only when it is given up. */
export type Persist = <T>(attempt: () => Promise<T>) => Promise<T>;

export function createRegistryInputs(
  readers: ReadonlyMap<string, TopicReader>,
  client: Pick<RegistryClient, 'schema'>,
  persist: Persist,
): RegistryInputs {
  /** One question an id, however many shards and topics ask it. */
  const asking = new Map<number, ReturnType<RegistryClient['schema']>>();

  async function learn(reader: TopicReader, id: number): Promise<void> {
    let asked = asking.get(id);
    if (asked === undefined) {
      asked = persist(() => client.schema(id)).finally(() => asking.delete(id));
      asking.set(id, asked);
    }
    try {
      reader.learn(id, await asked);
    } catch {
      // Given up: whoever waited has ended.
    }
  }

  return {
    readers,
    awaits({ topic, value }) {
      const reader = readers.get(topic);
      const id = reader?.lacks(value);
      return reader === undefined || id === undefined ? undefined : learn(reader, id);
    },
  };
}

export function createReaders(topics: readonly ReadTopic[]): ReadonlyMap<string, TopicReader> {
  return new Map(topics.map((topic) => [topic.topic, createTopicReader(topic)]));
}
