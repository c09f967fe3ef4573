/** Every header of ours on Kafka records begins with this; such headers never become metadata. */
export const OWN_PREFIX = 'stateferry-';

/** The command that a record was caused by. */
export const ORIGIN_HEADER = 'stateferry-origin';

/** On output topics whose records have no CloudEvents headers: the id and the source that these would have had. */
export const ID_HEADER = 'stateferry-id';
export const SOURCE_HEADER = 'stateferry-source';

/** On the command topic: a command that came in at a door, and is known by the place of its record. */
export const DOOR_HEADER = 'stateferry-door';

/** On the command topic: which record this one is, once more (put-back.ts). */
export const PUT_BACK_HEADER = 'stateferry-put-back';

/** On the command topic: where the record's command was parked, `chunk/ordinal`. */
export const PLACE_HEADER = 'stateferry-place';

/** On the command topic: a record that is for nobody (put-back.ts). */
export const NUDGE_HEADER = 'stateferry-nudge';

/** What a dead letter says of itself: why, where the record was, and whose it would have been. */
export const DEAD_LETTER_HEADERS = {
  /** A code of the table in errors.ts. */
  code: 'stateferry-error-code',
  sentence: 'stateferry-error',
  topic: 'stateferry-topic',
  partition: 'stateferry-partition',
  offset: 'stateferry-offset',
  /** Milliseconds since the epoch, of the record itself. */
  timestamp: 'stateferry-timestamp',
  /** Milliseconds since the epoch, when it was given up. */
  failedAt: 'stateferry-failed-at',
  service: 'stateferry-service',
  method: 'stateferry-method',
  /** What of the record the dead-letter topic does not take: `value`, `value, headers` or `value, headers, key`. */
  leftOut: 'stateferry-left-out',
} as const;
