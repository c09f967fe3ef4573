import { createEncoder } from '../codec/encode.ts';
import { decodeOutbox } from '../codec/outbox.ts';
import { messageOf } from '../errors.ts';
import { isSchemaFormat } from '../model/framed.ts';
import type { OutputRecord } from '../model/record.ts';
import { createFramedOutputs, type FramedOutputs } from './framed-outputs.ts';
import type { Ground } from './ground.ts';
import type { EventWithPayload, OutboxChunk } from './journal.ts';
import type { OutboxCoverage } from './outbox-coverage.ts';
import type { OutputCounts } from './output-counts.ts';

/** What the journal says that the topics must have. */
export interface JournaledOutputs {
  /** Every output that the outbox has, with its place in its chunk, from 0. */
  outbox(): AsyncGenerator<{ readonly chunk: OutboxChunk; readonly place: number; readonly output: OutputRecord }>;
  /** Every event, with its number among those of its command, from 1. */
  events(): AsyncGenerator<{ readonly event: EventWithPayload; readonly index: number }>;
  /** What an event or state looks like on each topic that its entity's go to; `which` output of its command it is. */
  render(event: EventWithPayload, which: string): Generator<OutputRecord>;
  /** Topics that events and states of a type go to. */
  topicsOf(entityType: string): readonly string[];
  /** Entity types whose events go to topics, and these. */
  readonly eventTypes: readonly string[];
  readonly eventTopics: ReadonlySet<string>;
  /** Those of them that have schemas of the registry; on these, `render` gives the bare message. */
  readonly framedTopics: ReadonlySet<string>;
  readonly framed: FramedOutputs;
}

export function createJournaledOutputs(
  ground: Ground,
  covered: OutboxCoverage,
  counts: OutputCounts,
): JournaledOutputs {
  const { journal, deployment } = ground;
  const encode = createEncoder({ descriptors: ground.descriptors });
  const framed = createFramedOutputs(ground.framed, ground.descriptors);
  const framedTopics = new Set<string>();
  const destinations = new Map(
    [...ground.eventDestinations].map(([entityType, list]) => {
      for (const { topic, format } of list) if (isSchemaFormat(format)) framedTopics.add(topic);
      return [entityType, list.map((one) => (isSchemaFormat(one.format) ? framed.unframed(one) : one))] as const;
    }),
  );
  const serviceOf = new Map([...ground.components.values()].map((c) => [c.entityType, c.service]));

  return {
    framed,
    framedTopics,
    eventTypes: [...destinations.keys()],
    eventTopics: new Set([...destinations.values()].flat().map(({ topic }) => topic)),
    topicsOf: (entityType) => (destinations.get(entityType) ?? []).map(({ topic }) => topic),
    async *outbox() {
      for await (const chunk of journal.outbox()) {
        let outputs: OutputRecord[];
        try {
          outputs = decodeOutbox(chunk.records);
        } catch (error) {
          covered.unreadable(chunk.shard, chunk.chunk, messageOf(error));
          continue;
        }
        for (const [place, output] of outputs.entries()) yield { chunk, place, output };
      }
    },
    async *events() {
      let before: EventWithPayload | undefined;
      let index = 0;
      for await (const event of journal.events()) {
        index = before?.commandId === event.commandId ? index + (event.seq - before.seq) : 1;
        before = event;
        yield { event, index };
      }
    },
    *render(event, which) {
      for (const destination of destinations.get(event.entityType) ?? []) {
        try {
          yield encode({
            destination,
            key: Buffer.from(event.entityId),
            payload: { typeUrl: event.typeUrl, value: event.payload },
            metadata: [],
            ce: {
              id: `${event.commandId}/${which}`,
              source: `/${deployment}/${serviceOf.get(event.entityType) ?? ''}`,
              subject: event.entityId,
            },
            origin: event.commandId,
          });
        } catch {
          // Written by an earlier version of the function, whose types this one does not have.
          counts.unrendered++;
        }
      }
    },
  };
}
