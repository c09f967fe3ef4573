/** What is done about a command that failed for good, or a record that cannot be read. */
export type LastResort =
  /** It goes to the dead-letter topic, and its entity goes on with the next one. */
  | 'dead-letter'
  /** Its shard stops before it, until an operator says how to go on. */
  | 'halt'
  /** It is parked, and every later command of its entity behind it, until an operator says how to go on. */
  | 'pause';

/** What is done about a failure; `attempts` counts the first one too, and the pauses between them double. */
export type FailurePolicy =
  | { readonly policy: LastResort }
  | {
      readonly policy: 'retry';
      readonly attempts: number;
      readonly initialBackoffMs: number;
      readonly maxBackoffMs: number;
      readonly lastResort: LastResort;
    };

/** A policy, and whose failures it is for: those that have everything that it names. */
export type FailureRule = FailurePolicy & {
  readonly topic?: string | undefined;
  readonly service?: string | undefined;
  readonly method?: string | undefined;
};

/** Where something failed. Without a method: a record that could not be read far enough to tell. */
export interface Failed {
  /** The input topic that it came by, whichever way it took since. */
  readonly topic: string;
  readonly service: string | undefined;
  readonly method: string | undefined;
}

/** What is to be done now. */
export type FailureVerdict = LastResort | { readonly retryInMs: number };

const DEFAULT: FailurePolicy = { policy: 'dead-letter' };

/** The failure policies of a deployment. Pure. */
export interface Failures {
  /** A command has failed, now for the `attempt`th time in a row (from 1). */
  ofCommand(failed: Failed, attempt: number): FailureVerdict;
  /** A record cannot be read. It would not be read the next time either, so it is never tried again. */
  ofRecord(failed: Failed): Exclude<LastResort, 'pause'>;
}

/** The first rule that fits decides; without one, what fails is a dead letter. */
export function createFailures(rules: readonly FailureRule[]): Failures {
  const policyOf = (failed: Failed): FailurePolicy =>
    rules.find(
      ({ topic, service, method }) =>
        (topic === undefined || topic === failed.topic) &&
        (service === undefined || service === failed.service) &&
        (method === undefined || method === failed.method),
    ) ?? DEFAULT;
  return {
    ofCommand(failed, attempt) {
      const found = policyOf(failed);
      if (found.policy !== 'retry') return found.policy;
      if (attempt >= found.attempts) return found.lastResort;
      return { retryInMs: Math.min(found.initialBackoffMs * 2 ** (attempt - 1), found.maxBackoffMs) };
    },
    ofRecord(failed) {
      const found = policyOf(failed);
      const last = found.policy === 'retry' ? found.lastResort : found.policy;
      // It is of no entity that could be paused.
      return last === 'pause' ? 'dead-letter' : last;
    },
  };
}

/**
 * The topic that a command counts as of: the external record's, also where it came on by way of the command topic (a
 * stray, a record that was put back). What a function asked for, a forward or a side effect, is of the command topic.
 */
export function topicOfCommand(commandId: string, commandTopic: string): string {
  return commandId.includes('#') ? commandTopic : commandId.slice(0, commandId.indexOf('/'));
}
