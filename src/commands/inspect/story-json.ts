import type { ExplainedInput, ExplainedOutput } from '../../inspect/chunk-records.ts';
import type { ExplainedRecord } from '../../inspect/records.ts';
import type { CommandStory, ToldEvent } from '../../inspect/stories.ts';
import { contentJson } from './content-text.ts';

/** A command and all that derives from it, for `jsonText`. */
export function storyJson(story: CommandStory): object {
  return {
    command: story.id,
    at: story.at ?? null,
    traceId: story.traceId ?? null,
    chunk: story.chunk ?? null,
    inputs: story.inputs.map(inputJson),
    events: story.events.map(eventJson),
    values: story.values.map(({ entityType, entityId, revision, content, at }) => ({
      component: entityType,
      entity: entityId,
      revision,
      at,
      ...(content === undefined ? { deleted: true } : contentJson(content)),
    })),
    outputs: story.outputs.map(outputJson),
    parkedSince: story.parkedSince ?? null,
    retrying: story.retrying ?? null,
    derived: story.derived.map(storyJson),
  };
}

/** An event, for `jsonText`. */
export function eventJson({ entityType, entityId, content, ...event }: ToldEvent): object {
  return {
    component: entityType,
    entity: entityId,
    seq: event.seq,
    at: event.at,
    shard: event.shard,
    shardSeq: event.shardSeq,
    command: event.commandId,
    ...contentJson(content),
  };
}

/** A record of the outbox, for `jsonText`. */
export function outputJson(output: ExplainedOutput): object {
  const { shard, chunk } = output.place;
  return { ...recordJson(output), shard, chunk };
}

function inputJson(input: ExplainedInput): object {
  return { ...recordJson(input), offset: input.offset, writtenAt: input.writtenAt };
}

function recordJson(record: ExplainedRecord): object {
  const { topic, partition, kind, command, key, target, failure, traceId, content, headers } = record;
  return {
    kind,
    topic,
    partition,
    command: command ?? null,
    key: key ?? null,
    ...(target && { target }),
    ...(failure !== undefined && { failure }),
    ...(traceId !== undefined && { traceId }),
    ...(content && contentJson(content)),
    headers: headers.map(([name, value]) => ({ name, value })),
  };
}
