import { z } from 'zod';
import { distinct, fields, topicName } from './routes.ts';

const NAME_EXPECTED = 'the name of a header in lower case, for example idempotency-key, or ce-id';

export const idempotencyKeyFields = fields({
  topic: topicName().describe(
    'The input topic; `<deployment.name>-commands` for calls at the doors, which have the header as metadata.',
  ),
  header: z
    .string({ error: NAME_EXPECTED })
    .regex(/^[a-z0-9][a-z0-9._-]{0,254}$/, { error: NAME_EXPECTED })
    .describe(
      'The header of its records that holds the key. `ce-id` is the id of a CloudEvent, which counts together with its source.',
    ),
});

/** Which header of a topic's records says that two of them are one command. */
export type IdempotencyKeySource = z.output<typeof idempotencyKeyFields>;

export const idempotencyKeysSchema = distinct(idempotencyKeyFields, ({ topic }) => topic, 'a topic');
