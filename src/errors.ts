/**
 * What the engine does about a failure:
 * - `retry`: try the same thing again, with back-off;
 * - `reject`: the message is at fault; it goes to the dead-letter topic with the reason;
 * - `rebuild`: fenced, or an outcome is unknown; drop everything in memory, open the shards again under a new id;
 * - `stop`: nothing can go on until a person changed something (config, schema, topics).
 */
export type Fate = 'retry' | 'reject' | 'rebuild' | 'stop';

/** Every failure of Stateferry's own making, with its fate. A test holds the docs against this table. */
export const ERRORS = {
  CONFIG_INVALID: 'stop',
  TOPIC_MISSING: 'stop',
  TOPIC_PARTITIONS: 'stop',
  TOPIC_RECREATED: 'stop',
  OFFSETS_GONE: 'stop',
  BATCH_TOO_LARGE: 'stop',
  TRANSACTION_HANGING: 'stop',
  JOURNAL_BEHIND: 'stop',
  JOURNAL_FOREIGN: 'stop',
  JOURNAL_NEWER: 'stop',
  JOURNAL_DENIED: 'stop',
  JOURNAL_UNREADABLE: 'stop',
  ARCHIVE_DAMAGED: 'stop',
  FILE_UNWRITABLE: 'stop',
  HISTORY_GAP: 'stop',
  SCHEMA_MISFIT: 'stop',
  FUNCTION_UNAVAILABLE: 'retry',
  FUNCTION_PROTOCOL: 'stop',
  FUNCTION_SPEC: 'stop',
  FUNCTION_BROKEN_REPLY: 'reject',
  FUNCTION_TIMEOUT: 'reject',
  FUNCTION_LOST: 'reject',
  FUNCTION_FAILED: 'reject',
  RECORD_UNDECODABLE: 'reject',
  RECORD_UNKNOWN_TYPE: 'reject',
  RECORD_UNKNOWN_SCHEMA: 'reject',
  RECORD_NO_ENTITY_ID: 'reject',
  RECORD_TOMBSTONE: 'reject',
  RECORD_OVERSIZE: 'reject',
  CALL_UNKNOWN_TARGET: 'reject',
  ENTITY_UNREADABLE: 'reject',
  COMMAND_REPEATED: 'reject',
  SKIPPED_BY_OPERATOR: 'reject',
  SHARD_FENCED: 'rebuild',
  EMIT_UNKNOWN: 'rebuild',
  JOURNAL_UNKNOWN: 'rebuild',
  KAFKA_UNAVAILABLE: 'retry',
  POSTGRES_UNAVAILABLE: 'retry',
  REGISTRY_UNAVAILABLE: 'retry',
  HTTP_ADDRESS: 'stop',
  STATUS_UNREACHABLE: 'stop',
  OPERATION_REFUSED: 'stop',
  OPERATION_PENDING: 'stop',
  LOCAL_STACK: 'stop',
  DEMO_REFUSED: 'stop',
  DEMO_FAILED: 'stop',
} as const satisfies Record<string, Fate>;

export type ErrorCode = keyof typeof ERRORS;

/** A failure with a code, a fate and a sentence that says what was found, what was expected and what to do. */
export class StateferryError extends Error {
  readonly code: ErrorCode;
  /** The status that a function failed a command with, google.rpc.Code; undefined: it named none. */
  readonly grpcStatus: number | undefined;

  constructor(code: ErrorCode, sentence: string, options?: { cause?: unknown; grpcStatus?: number }) {
    super(sentence, options);
    this.name = 'StateferryError';
    this.code = code;
    this.grpcStatus = options?.grpcStatus;
  }

  get fate(): Fate {
    return ERRORS[this.code];
  }
}

/** Anything thrown as a failure of ours: as it is where it is one, else of this code, with its message as the sentence. */
export function asFailureOf(code: ErrorCode, thrown: unknown): StateferryError {
  return thrown instanceof StateferryError ? thrown : new StateferryError(code, messageOf(thrown), { cause: thrown });
}

/** The message of anything thrown, for a sentence or a log field. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors.map(messageOf).join('; ');
  return error instanceof Error ? error.message || error.name : String(error);
}
