import type { DescMessage } from '@bufbuild/protobuf';
import { messageOf, StateferryError } from '../errors.ts';
import type { FramedReader } from '../model/framed.ts';
import type { ReadPlan } from './formats.ts';
import { frameId, requireFrameId } from './frame.ts';
import { planReading } from './kinds.ts';
import { type LoadedSchema, misfitLine } from './schema.ts';

/** For so long the registry is not asked again for an id that it does not know, or not with all that it refers to. */
const UNKNOWN_FOR_MS = 30_000;
/** So many of them are remembered: whoever produces can make any number up. */
const MOST_UNKNOWN = 10_000;

/** What a topic's records are read as. */
export interface ReadTopic {
  readonly topic: string;
  /** Message types that the topic's methods take, or pass over. */
  readonly types: readonly DescMessage[];
  /** The one type of the topic, whatever its schemas are called; absent: their names decide. */
  readonly only: DescMessage | undefined;
}

/** The reader of one topic, and what it waits for. */
export interface TopicReader extends FramedReader {
  /** The id of a value whose schema has to be learned before it is read; undefined: it can be read now. */
  lacks(value: Buffer | null): number | undefined;
  /** `schema` undefined: the registry does not know the id. Returns how it is read. */
  learn(id: number, schema: LoadedSchema | undefined): ReadPlan | undefined;
}

export function createTopicReader({ topic, types, only }: ReadTopic): TopicReader {
  const plans = new Map<number, ReadPlan>();
  /** Until when the registry is not asked, and what it said, if anything. */
  const unknown = new Map<number, { readonly until: number; readonly plan: ReadPlan | undefined }>();

  return {
    lacks(value) {
      const id = frameId(value);
      if (id === undefined || plans.has(id)) return undefined;
      const until = unknown.get(id)?.until;
      return until !== undefined && performance.now() < until ? undefined : id;
    },
    learn(id, schema) {
      const plan = schema && planReading(schema, types, only);
      if (plan === undefined || (schema?.missing.length ?? 0) > 0) {
        if (unknown.size >= MOST_UNKNOWN) unknown.clear();
        unknown.set(id, { until: performance.now() + UNKNOWN_FOR_MS, plan });
        return plan;
      }
      plans.set(id, plan);
      unknown.delete(id);
      return plan;
    },
    read(value) {
      const id = requireFrameId(value);
      const plan = plans.get(id) ?? unknown.get(id)?.plan;
      if (plan === undefined) {
        throw new StateferryError(
          'RECORD_UNKNOWN_SCHEMA',
          `The value is of schema ${id}, which the registry does not know. Register it there, or produce with the registry that registry.urls names.`,
        );
      }
      if (plan.misfits.length > 0) {
        throw new StateferryError(
          'RECORD_UNDECODABLE',
          `The value is of schema ${id}, which does not fit what the function takes from the topic ${topic}: ` +
            `${plan.misfits.map(misfitLine).join('; ')}. Produce with a schema that fits, or change the function's messages.`,
        );
      }
      try {
        return plan.read(value);
      } catch (error) {
        if (error instanceof StateferryError) throw error;
        throw new StateferryError(
          'RECORD_UNDECODABLE',
          `The value (${value.length} bytes) is not what schema ${id} says: ${messageOf(error)}. Produce with the serializer of that schema.`,
          { cause: error },
        );
      }
    },
  };
}
