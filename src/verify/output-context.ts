import type { OutputRecord } from '../model/record.ts';
import type { Gathering } from './findings.ts';
import { type Fingerprint, FingerprintTable } from './fingerprints.ts';
import type { Ground } from './ground.ts';
import { type AnyRecord, fingerprintOf, type Identity, identify } from './identity.ts';
import { createJournaledOutputs, type JournaledOutputs } from './journaled-outputs.ts';
import { Lanes } from './lanes.ts';
import { coverageOf, type OutboxCoverage } from './outbox-coverage.ts';
import { newCounts, type OutputCounts } from './output-counts.ts';
import type { Traces } from './traces.ts';

/** Flags of what is expected: it was found. */
export const SEEN = 1;
/** Of a chunk that Kafka is not known to have. */
export const IN_FLIGHT = 2;
/** It need not be on the topic. */
export const OPTIONAL = 4;

/** What all passes over the outputs share. */
export interface OutputContext {
  readonly ground: Ground;
  readonly found: Gathering;
  readonly counts: OutputCounts;
  readonly covered: OutboxCoverage;
  readonly journaled: JournaledOutputs;
  /** Commands that an operator, or the end of a pause, had handled once more: they are not in the order of their records. */
  readonly putBacks: Set<string>;
  identityOf(record: AnyRecord | OutputRecord, topic: string): Identity | undefined;
}

export function createOutputContext(ground: Ground, found: Gathering): OutputContext {
  const { topics, deployment } = ground;
  const covered = coverageOf(ground, found);
  const counts = newCounts([...ground.chunks.values()].reduce((sum, list) => sum + list.length, 0));
  return {
    ground,
    found,
    counts,
    covered,
    journaled: createJournaledOutputs(ground, covered, counts),
    putBacks: new Set(),
    identityOf: (record, topic) =>
      identify(record, { topic, commandTopic: topics.commands, answerTopic: topics.answers, deployment }),
  };
}

/** One pass: of all outputs, those whose key falls to it. */
export interface OutputPass {
  /** The first one also does what needs no memory. */
  readonly isFirst: boolean;
  /** An output with this key falls to this pass; one without a key by its id. */
  isOurs(key: Uint8Array | null, id: string): boolean;
  /** What the outbox has; an ordinal is a chunk and a place in it (`placeIn`). */
  readonly expected: FingerprintTable;
  /** What the events and values of the journal lead to; an ordinal is the event's number in its shard, -1 for a value. */
  readonly events: FingerprintTable;
  /** What was found on topics, and is in neither. */
  readonly seen: FingerprintTable;
  readonly lanes: Lanes;
  readonly traces: Traces;
}

export function newPass(index: number, of: number, traces: Traces): OutputPass {
  return {
    isFirst: index === 0,
    isOurs: (key, id) =>
      of === 1 || fingerprintOf(key === null ? id : Buffer.from(key).toString('latin1')).low % of === index,
    expected: new FingerprintTable(),
    events: new FingerprintTable(),
    seen: new FingerprintTable(),
    lanes: new Lanes(),
    traces,
  };
}

/** What an output is found by. */
export function printOf(topic: string, id: string): Fingerprint {
  return fingerprintOf(`${topic}\0${id}`);
}

const CHUNK_PLACES = 2 ** 20;

/** Where an output stands in the outbox, as a number that grows from chunk to chunk. */
export function placeIn(chunk: number, place: number): number {
  return chunk * CHUNK_PLACES + place;
}

/** The chunk of a number that `placeIn` has given. */
export function chunkOf(ordinal: number): number {
  return Math.floor(ordinal / CHUNK_PLACES);
}
