import { z } from 'zod';
import { distinct, fields } from './routes.ts';

const KINDS = ['events', 'inputs', 'outputs', 'values'] as const;
const AGE_EXPECTED = 'a whole number of ms, at least 1';
const BYTES_EXPECTED = 'a whole number of bytes, at least 1';
const COMPONENT_EXPECTED = 'an entity type, or the full name of its gRPC service';

export const retentionRuleFields = fields({
  what: z
    .enum(KINDS, { error: `one of ${KINDS.join(', ')}` })
    .describe(
      '`events`: those below the newest snapshot of their entity; `inputs`: what `journal.keepInputs` keeps; `outputs`: what the outbox keeps after Kafka has it; `values`: what `journal.keepValues` keeps; the present ones stay.',
    ),
  component: z
    .string({ error: COMPONENT_EXPECTED })
    .min(1, { error: COMPONENT_EXPECTED })
    .optional()
    .describe('Of `events` only: an entity type or its service. Absent: all that no other entry names.'),
  maxAgeMs: z
    .int({ error: AGE_EXPECTED })
    .min(1, { error: AGE_EXPECTED })
    .optional()
    .describe('What was journaled longer ago may go. This, `maxBytesPerShard`, or both: then either is enough.'),
  maxBytesPerShard: z
    .int({ error: BYTES_EXPECTED })
    .min(1, { error: BYTES_EXPECTED })
    .optional()
    .describe(
      'What is older than the newest so many bytes of payloads and records in a shard, of the component, may go.',
    ),
});

/** One entry of `journal.retention`. */
export type RetentionRule = z.output<typeof retentionRuleFields>;

export const retentionRulesSchema = distinct(
  retentionRuleFields.superRefine(({ what, component, maxAgeMs, maxBytesPerShard }, context) => {
    if (component !== undefined && what !== 'events') {
      const message = `no such key, as ${what} are kept by chunk, and a chunk is of all components`;
      context.addIssue({ code: 'custom', path: ['component'], message });
    }
    if (maxAgeMs === undefined && maxBytesPerShard === undefined) {
      context.addIssue({ code: 'custom', path: ['maxAgeMs'], message: `${AGE_EXPECTED}, or maxBytesPerShard` });
    }
  }),
  ({ what, component }) => `${what} ${component ?? ''}`,
  'a kind and component',
);
