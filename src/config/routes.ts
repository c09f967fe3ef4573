import { z } from 'zod';
import { onlyOfRegistry, SCHEMA_FORMATS, schemaFields, subjectFields, typesOfRegistry } from './registry.ts';
import { suggest } from './suggest.ts';

/** How the payload of a record is read, and how it is written. */
const INPUT_FORMATS = ['auto', 'protobuf', 'json', 'text', 'bytes', 'cloudevents', 'registry'] as const;
const OUTPUT_FORMATS = ['auto', 'protobuf', 'json', 'text', 'bytes', ...SCHEMA_FORMATS] as const;

/** Where a record says what CloudEvents has an event say of itself. */
const EVENT_MODES = ['binary', 'structured', 'none'] as const;

/** Where the entity id of a command comes from; `auto` is the record's key, else the field that the descriptor marks. */
const ENTITY_ID_SOURCES = ['auto', 'key', 'field'] as const;
export type EntityIdSource = (typeof ENTITY_ID_SOURCES)[number];

/** Kafka's own limit is 249 characters. */
export const TOPIC_NAME = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/;
const TOPIC_EXPECTED = 'a topic name: up to 249 of A-Z a-z 0-9 . _ -';
const SERVICE_NAME = /^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$/;
const METHOD_NAME = /^[A-Za-z_]\w*$/;

const matching = (pattern: RegExp, expected: string) =>
  z.string({ error: expected }).regex(pattern, { error: expected });

export const topicName = () => matching(TOPIC_NAME, TOPIC_EXPECTED);
export const serviceName = () =>
  matching(SERVICE_NAME, 'the full name of a gRPC service, for example shop.CartService');
export const methodName = () => matching(METHOD_NAME, 'the name of a method of that service, for example AddItem');
const choiceOf = <const T extends readonly string[]>(values: T, what: string) =>
  z
    .enum(values, { error: `one of ${values.join(', ')}` })
    .default(values[0] as T[number])
    .describe(what);
const writtenAs = () =>
  choiceOf(
    OUTPUT_FORMATS,
    'How the payload is written; `auto` keeps what the function gave. The last three are framed for the schema registry.',
  );
const eventMode = () =>
  choiceOf(
    EVENT_MODES,
    'Where the CloudEvents attributes stand: in the headers (`binary`), with the payload in the value (`structured`), or nowhere.',
  );

/** A map with these keys and no others. */
export function fields<T extends z.ZodRawShape>(shape: T) {
  const known = Object.keys(shape);
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code !== 'unrecognized_keys') return `a map with the keys ${known.join(', ')}`;
      const meant = issue.keys.map((key) => suggest(key, known)).find((name) => name !== undefined);
      return `one of ${known.join(', ')}${meant === undefined ? '' : `; did you mean ${meant}?`}`;
    },
  });
}

/** A list in which no two items have the same key: the second of two is refused and names the first. */
export function distinct<T extends z.ZodType>(item: T, keyOf: (item: z.output<T>) => string, what: string) {
  return z.array(item, { error: 'a list' }).superRefine((items, context) => {
    const first = new Map<string, number>();
    for (const [index, entry] of items.entries()) {
      const key = keyOf(entry);
      const earlier = first.get(key);
      if (earlier === undefined) first.set(key, index);
      else context.addIssue({ code: 'custom', path: [index], message: `${what} other than that of [${earlier}]` });
    }
  });
}

export const subscriptionSchema = fields({
  topic: topicName().describe('The input topic.'),
  service: serviceName().describe('Full name of the gRPC service whose method takes the records.'),
  method: methodName().describe('The method that takes the records.'),
  format: choiceOf(
    INPUT_FORMATS,
    'How the payload is read; `auto` goes by the headers of the record, and so does `cloudevents`, which takes nothing else; `registry` by the schema of the registry that it is framed with.',
  ),
  entityId: z
    .enum(ENTITY_ID_SOURCES, { error: `one of ${ENTITY_ID_SOURCES.join(', ')}` })
    .default('auto')
    .describe(
      'Where the entity id comes from: the record key, or the marked field of the message; `auto` takes the key, and the field where there is no key.',
    ),
  ...subjectFields,
}).superRefine(onlyOfRegistry);

export const replySchema = fields({
  service: serviceName().describe('Full name of the gRPC service.'),
  method: methodName().describe('The method whose replies are published.'),
  topic: topicName().describe('The output topic.'),
  format: writtenAs(),
  cloudevents: eventMode(),
  ...schemaFields,
}).superRefine(onlyOfRegistry);

export const eventSchema = fields({
  entityType: z
    .string({ error: 'an entity type' })
    .min(1, { error: 'an entity type' })
    .optional()
    .describe('The entity type whose state events are published; this or `service`.'),
  service: serviceName().optional().describe('The gRPC service whose entities\u2019 state events are published.'),
  topic: topicName().describe('The topic for state events.'),
  format: writtenAs(),
  cloudevents: eventMode(),
  ...schemaFields,
})
  .refine((event) => (event.entityType === undefined) !== (event.service === undefined), {
    error: 'a map with either entityType or service, and not both',
  })
  .superRefine(onlyOfRegistry)
  .superRefine(typesOfRegistry);

/** A method that takes its commands from a topic, besides what the function's own annotations say. */
export type Subscription = z.output<typeof subscriptionSchema>;
/** A topic for the replies of a method. */
export type ReplyDestination = z.output<typeof replySchema>;
/** A topic for the state events of an entity type, named by itself or by its service: exactly one of the two is set. */
export type EventDestination = z.output<typeof eventSchema>;
export interface Destinations {
  readonly replies: readonly ReplyDestination[];
  readonly events: readonly EventDestination[];
}

export const subscriptionsSchema = distinct(
  subscriptionSchema,
  (entry) => `${entry.topic} ${entry.service}/${entry.method}`,
  'a topic, service and method',
);

export const destinationsSchema = fields({
  replies: distinct(
    replySchema,
    (entry) => `${entry.service}/${entry.method} ${entry.topic}`,
    'a service, method and topic',
  ).default([]),
  events: distinct(
    eventSchema,
    (entry) => `${entry.entityType ?? ''}/${entry.service ?? ''} ${entry.topic}`,
    'an entity type or service and topic',
  ).default([]),
});
