import { z } from 'zod';
import { distinct, fields, methodName, serviceName, topicName } from './routes.ts';

/** What may be done about a failure in the end. */
const LAST_RESORTS = ['dead-letter', 'halt', 'pause'] as const;
const POLICIES = ['dead-letter', 'retry', 'halt', 'pause'] as const;

/** A Node timer holds no longer time. */
const MAX_MS = 2_147_483_647;
/** Where a `retry` does not say. */
const ATTEMPTS = 5;
const INITIAL_BACKOFF_MS = 200;
const MAX_BACKOFF_MS = 30_000;

const whole = (unit: string, min: number, max: number, initial: number, what: string) => {
  const expected = `a whole number of ${unit}, ${min} to ${max}`;
  return z
    .int({ error: expected })
    .min(min, { error: expected })
    .max(max, { error: expected })
    .optional()
    .describe(`${what} Of \`retry\` only; ${initial} where it is not given.`);
};

/** Settings that only a `retry` has. */
const RETRY_ONLY = ['attempts', 'initialBackoffMs', 'maxBackoffMs', 'lastResort'] as const;

export const failurePolicyFields = fields({
  topic: topicName().optional().describe('For what comes from this input topic; absent: from any.'),
  service: serviceName().optional().describe('For commands of this gRPC service; absent: of any.'),
  method: methodName().optional().describe('For commands of methods of this name; absent: of any.'),
  policy: z
    .enum(POLICIES, { error: `one of ${POLICIES.join(', ')}` })
    .describe(
      '`dead-letter`: to the dead-letter topic, and on; `retry`: once more after a pause; `halt`: the shard stops before it; `pause`: it and every later command of its entity wait.',
    ),
  attempts: whole('attempts', 2, 1_000_000, ATTEMPTS, 'How often a command is tried in all, the first time included.'),
  initialBackoffMs: whole('ms', 1, MAX_MS, INITIAL_BACKOFF_MS, 'The pause before the second attempt; it doubles.'),
  maxBackoffMs: whole('ms', 1, MAX_MS, MAX_BACKOFF_MS, 'The longest pause between two attempts.'),
  lastResort: z
    .enum(LAST_RESORTS, { error: `one of ${LAST_RESORTS.join(', ')}` })
    .optional()
    .describe(
      'What is done when the last attempt has failed too. Of `retry` only; `dead-letter` where it is not given.',
    ),
});

/** A failure policy with everything that its kind needs. */
export const failurePolicySchema = failurePolicyFields
  .superRefine((entry, context) => {
    if (entry.policy === 'retry') {
      const { initialBackoffMs = INITIAL_BACKOFF_MS, maxBackoffMs = MAX_BACKOFF_MS } = entry;
      if (initialBackoffMs > maxBackoffMs) {
        const message = `at least initialBackoffMs, ${initialBackoffMs}`;
        context.addIssue({ code: 'custom', path: ['maxBackoffMs'], message });
      }
      return;
    }
    for (const name of RETRY_ONLY) {
      if (entry[name] === undefined) continue;
      context.addIssue({ code: 'custom', path: [name], message: 'no such key, as only the policy retry has it' });
    }
  })
  .transform(({ topic, service, method, policy, ...retry }) => {
    const whose = {
      ...(topic !== undefined && { topic }),
      ...(service !== undefined && { service }),
      ...(method !== undefined && { method }),
    };
    if (policy !== 'retry') return { ...whose, policy };
    const { attempts = ATTEMPTS, initialBackoffMs = INITIAL_BACKOFF_MS, maxBackoffMs = MAX_BACKOFF_MS } = retry;
    return {
      ...whose,
      policy,
      attempts,
      initialBackoffMs,
      maxBackoffMs,
      lastResort: retry.lastResort ?? ('dead-letter' as const),
    };
  });

export type ConfiguredFailurePolicy = z.output<typeof failurePolicySchema>;

export const failurePoliciesSchema = distinct(
  failurePolicySchema,
  ({ topic, service, method }) => `${topic ?? ''} ${service ?? ''} ${method ?? ''}`,
  'a topic, service and method',
);
