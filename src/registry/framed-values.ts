import { StateferryError } from '../errors.ts';
import type { FramedValues } from '../model/framed.ts';
import type { RegistryClient } from './client.ts';
import type { WritePlan } from './formats.ts';
import { requireFrameId } from './frame.ts';
import { createReaders } from './inputs.ts';
import { planWriting } from './kinds.ts';
import type { ReadTopic } from './reading.ts';
import type { LoadedSchema } from './schema.ts';

/** Each schema is asked for once. */
export function createFramedValues(
  client: Pick<RegistryClient, 'schema'>,
  topics: readonly Pick<ReadTopic, 'topic' | 'types'>[],
): FramedValues {
  const only = (types: ReadTopic['types']) => (types.length === 1 ? types[0] : undefined);
  const readers = createReaders(topics.map(({ topic, types }) => ({ topic, types, only: only(types) })));
  const typesOf = new Map(topics.map(({ topic, types }) => [topic, types]));
  const schemas = new Map<number, LoadedSchema | undefined>();
  const writing = new Map<string, WritePlan>();
  const schemaOf = async (id: number): Promise<LoadedSchema | undefined> => {
    if (!schemas.has(id)) schemas.set(id, await client.schema(id));
    return schemas.get(id);
  };
  return {
    async read(topic, value) {
      const reader = readers.get(topic);
      if (reader === undefined) throw new TypeError(`the topic ${topic} has no schemas`);
      const id = reader.lacks(value);
      if (id !== undefined) reader.learn(id, await schemaOf(id));
      return reader.read(value);
    },
    async write(topic, { typeName, value }, like) {
      const id = requireFrameId(like);
      const schema = await schemaOf(id);
      const key = `${id} ${topic}`;
      const plan = writing.get(key) ?? (schema && planWriting(schema, typesOf.get(topic) ?? []));
      if (plan !== undefined) writing.set(key, plan);
      const way = plan?.ways.get(typeName);
      if (way === undefined || value === undefined)
        throw new StateferryError('RECORD_UNKNOWN_SCHEMA', `no ${typeName} can be written with the schema ${id}`);
      return way(value);
    },
  };
}
