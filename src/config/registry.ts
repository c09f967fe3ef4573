import { z } from 'zod';

/** Output formats whose values are framed for a schema registry, each of one kind of schema. */
export const SCHEMA_FORMATS = ['avro', 'json-schema', 'registry-protobuf'] as const;
export const SUBJECT_STRATEGIES = ['TopicNameStrategy', 'RecordNameStrategy', 'TopicRecordNameStrategy'] as const;
type SchemaFormat = (typeof SCHEMA_FORMATS)[number];

const SUBJECT = 'the name of a subject: 1 to 1000 characters';
const VERSION = 'the number of a version, at least 1; without it the latest';
const TYPE = 'the full name of a message type, for example shop.ItemAdded';

/** What every topic of the registry may say. */
export const subjectFields = {
  subjectNameStrategy: z
    .enum(SUBJECT_STRATEGIES, { error: `one of ${SUBJECT_STRATEGIES.join(', ')}` })
    .optional()
    .describe(
      'With a format of the schema registry: how its subjects are named. `TopicNameStrategy`, where nothing is said, is `<topic>-value`; `RecordNameStrategy` the full name of the message type; `TopicRecordNameStrategy` `<topic>-<full name>`.',
    ),
  subject: z
    .string({ error: SUBJECT })
    .min(1, { error: SUBJECT })
    .max(1000, { error: SUBJECT })
    .optional()
    .describe('With a format of the schema registry: the subject, whatever a strategy would call it.'),
};

/** What a topic that is written may say besides. */
export const schemaFields = {
  ...subjectFields,
  schemaVersion: z
    .int({ error: VERSION })
    .min(1, { error: VERSION })
    .optional()
    .describe(
      'With a format of the schema registry: the version of the subject that is written; without it the latest, as of the start.',
    ),
  types: z
    .array(z.string({ error: TYPE }).regex(/^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$/, { error: TYPE }), {
      error: `a list, each ${TYPE}`,
    })
    .min(1, { error: `a list, each ${TYPE}` })
    .optional()
    .describe(
      'With a format of the schema registry: full names of the message types that go to the topic, besides the method\u2019s own; of events, all of them.',
    ),
};

interface Given {
  readonly format: string;
  readonly cloudevents?: string;
  readonly subjectNameStrategy?: unknown;
  readonly subject?: unknown;
  readonly schemaVersion?: unknown;
  readonly types?: unknown;
}

export function isSchemaFormat(format: string): format is SchemaFormat {
  return (SCHEMA_FORMATS as readonly string[]).includes(format);
}

/** What is for the registry says nothing of other formats. */
export function onlyOfRegistry(given: Given, context: z.RefinementCtx): void {
  if (isSchemaFormat(given.format) && given.cloudevents === 'structured') {
    const message = `binary or none, as the format is ${given.format}, whose values are framed for the registry`;
    context.addIssue({ code: 'custom', path: ['cloudevents'], message });
  }
  if (given.format === 'registry' || isSchemaFormat(given.format)) return;
  for (const name of ['subjectNameStrategy', 'subject', 'schemaVersion', 'types'] as const) {
    if (given[name] === undefined) continue;
    context.addIssue({
      code: 'custom',
      path: [name],
      message: `nothing, as the format is ${given.format}, which has no schema`,
    });
  }
}

/** The descriptor does not tell which messages are events. */
export function typesOfRegistry(given: Given, context: z.RefinementCtx): void {
  if (!isSchemaFormat(given.format) || given.types !== undefined) return;
  context.addIssue({
    code: 'custom',
    path: ['types'],
    message: `a list, each ${TYPE}, as the format is ${given.format}`,
  });
}
