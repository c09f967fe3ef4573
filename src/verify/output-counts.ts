import { number } from './findings.ts';

/** What was looked at, and what could not be judged, of all passes together. Of records where nothing else is said. */
export interface OutputCounts {
  records: number;
  /** Held against the outbox, byte for byte. */
  byOutbox: number;
  /** Held against events and values. */
  byEvents: number;
  /** Older than the outbox keeps: judged by their headers. */
  byHeaders: number;
  /** Written after the journal was looked at. */
  inFlight: number;
  /** Of others, on topics that they share. */
  foreign: number;
  /** Outputs of the outbox that are older than their topics keep. */
  removed: number;
  /** Events older than the first event output on their topic. */
  beforeTopic: number;
  /** Event outputs of types that the function has no more. */
  unrendered: number;
  /** On topics with schemas of the registry, by which they cannot be read any more. */
  unread: number;
  /** Commands that were put back again in the same way. */
  putBack: number;
  /** Of shards to themselves. */
  nudges: number;
  /** Commands that came in at doors. */
  fromDoors: number;
  /** Not in the order of the input, where that cannot be told. */
  unordered: number;
  /** Of what another generation did while it served. */
  earlier: number;
  /** Chunks that the outbox has. */
  retainedChunks: number;
}

export function newCounts(retainedChunks: number): OutputCounts {
  return {
    records: 0,
    byOutbox: 0,
    byEvents: 0,
    byHeaders: 0,
    inFlight: 0,
    foreign: 0,
    removed: 0,
    beforeTopic: 0,
    unrendered: 0,
    unread: 0,
    putBack: 0,
    nudges: 0,
    fromDoors: 0,
    unordered: 0,
    earlier: 0,
    retainedChunks,
  };
}

/** What could not be judged, one sentence for each reason that there was. */
export function reachOf(counts: OutputCounts): string[] {
  const notes: readonly (readonly [string, number])[] = [
    [
      'outputs older than the outbox keeps (journal.outboxRetentionChunks), judged by their headers alone, for their cause, for ' +
        'doubles, and for order where one input record caused them directly',
      counts.byHeaders,
    ],
    ['outputs of what another generation did while it served, judged for order and doubles alone', counts.earlier],
    ['records that were written after the journal was looked at, not judged', counts.inFlight],
    ['records of others on topics that they share, not judged', counts.foreign],
    ['outputs of the outbox that are older than their topics keep, not judged', counts.removed],
    [
      'events older than the first event output on their topic (retention, or a route that came later), not judged there',
      counts.beforeTopic,
    ],
    ['commands that were put back again in the same way, not judged for doubles', counts.putBack],
    [
      'outputs that are not in the order of the input, as it is where commands were put back; the command topic does not keep them ' +
        'all, so it cannot be told, not judged for order',
      counts.unordered,
    ],
    ['event outputs of types that the function has no more, not judged', counts.unrendered],
    [
      'events older than the outbox keeps, on topics with schemas of the registry, that cannot be read by these any more, judged for ' +
        'order and doubles alone',
      counts.unread,
    ],
  ];
  return notes.flatMap(([sentence, count]) => (count === 0 ? [] : [`${sentence}: ${number(count)}`]));
}
