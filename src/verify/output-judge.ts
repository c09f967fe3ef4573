import { isNudge } from '../codec/put-back.ts';
import type { InputRecord } from '../model/record.ts';
import { type Fingerprint, type FingerprintTable, isSame } from './fingerprints.ts';
import type { FramedVerdict } from './framed-outputs.ts';
import { isOfEarlierGeneration } from './ground.ts';
import { type AnyRecord, asOutput, bodyPrint, type Identity, isFromDoor, wholePrint } from './identity.ts';
import type { Lane } from './lanes.ts';
import { chunkOf, type OutputContext, type OutputPass, printOf, SEEN } from './output-context.ts';
import { createOutputOrder } from './output-order.ts';
import { unexplained } from './unexplained-outputs.ts';

const NO_CONTENT: Fingerprint = { high: 0, low: 0 };

/** An output on a topic. */
interface Found {
  readonly record: AnyRecord;
  readonly identity: Identity;
  /** Where it was found, and what it is, for whoever reads the finding. */
  readonly where: string;
  readonly name: string;
  /** Its slots in the tables of the pass; -1: it is not there. */
  readonly inOutbox: number;
  readonly inEvents: number;
}

/** Judges the records of one partition of an output topic, one after the other, by what the pass expects. */
export function createOutputJudge(
  context: OutputContext,
  pass: OutputPass,
  topic: string,
  partition: number,
): (record: InputRecord) => Promise<void> {
  const { ground, found, counts, journaled, putBacks, identityOf } = context;
  const { isFirst, isOurs, expected, events, seen, lanes, traces } = pass;
  const { topics } = ground;
  /** What is below it was there before the journal was looked at. */
  const known = ground.before.get(topic)?.get(partition)?.stable ?? 0n;
  const order = createOutputOrder(context);

  return async (given) => {
    const kind =
      topic !== topics.commands ? undefined : isNudge(given) ? 'nudges' : isFromDoor(given) ? 'fromDoors' : undefined;
    if (kind !== undefined) {
      if (isFirst) {
        counts.records++;
        counts[kind]++;
      }
      return;
    }
    const record = asOutput(given);
    const where = `${topic}/${partition}/${given.offset}`;
    const isKnown = given.offset < known;
    const identity = identityOf(record, topic);
    if (identity === undefined) {
      if (isFirst) judgeNameless(where, isKnown);
      return;
    }
    traces.ofOutput(identity);
    if (identity.kind === 'put back') putBacks.add(identity.origin);
    if (!isOurs(record.key, identity.id)) return;
    counts.records++;
    const print = printOf(topic, identity.id);
    const one: Found = {
      record,
      identity,
      where,
      name: `${identity.kind} ${identity.id}`,
      inOutbox: expected.find(print),
      inEvents: events.find(print),
    };
    if (isAgain(one, print)) {
      judgeAgain(one);
      return;
    }
    if (one.inOutbox >= 0) judgeByOutbox(one);
    if (one.inEvents >= 0) await judgeByEvents(one);
    order.next(identity, record, where);
    if (one.inOutbox >= 0 || one.inEvents >= 0) return;
    if (!isKnown) counts.inFlight++;
    else if (isOfEarlierGeneration(identity.root, ground.shards)) counts.earlier++;
    else {
      const fault = await unexplained(context, pass, identity, record, { topic, partition });
      if (fault === undefined) counts.byHeaders++;
      else found.find({ what: 'an output that nothing explains', where, ...fault });
    }
  };

  /** A record that names no command of this deployment. */
  function judgeNameless(where: string, isKnown: boolean): void {
    counts.records++;
    if (topics.shared.has(topic)) counts.foreign++;
    else if (!isKnown) counts.inFlight++;
    else {
      found.find({
        what: 'an output that nothing explains',
        where,
        found: `a record that names no command of the deployment "${ground.deployment}"`,
        expected: 'only outputs of this deployment',
      });
    }
  }

  /** The same output was found before. */
  function isAgain({ inOutbox, inEvents }: Found, print: Fingerprint): boolean {
    if (inOutbox < 0 && inEvents < 0) return !seen.put(print, NO_CONTENT);
    return hasSeen(expected, inOutbox) || hasSeen(events, inEvents);
  }

  function judgeAgain({ identity, record, where, name, inOutbox }: Found): void {
    if (identity.kind === 'put back') {
      counts.putBack++;
      return;
    }
    const differs = inOutbox >= 0 && !isSame(expected.at(inOutbox).content, wholePrint(record, partition));
    found.find({
      what: 'an output is doubled',
      where,
      found: `${name} again${differs ? ', with other bytes' : ''}`,
      expected: 'each output once',
    });
  }

  function judgeByOutbox(one: Found): void {
    counts.byOutbox++;
    compare(expected, one.inOutbox, wholePrint(one.record, partition), one, {
      what: 'an output is not what the outbox has',
      whose: ({ shard }, ordinal) => `what chunk ${chunkOf(ordinal)} of shard ${shard} has`,
    });
  }

  async function judgeByEvents(one: Found): Promise<void> {
    const { content } = events.at(one.inEvents);
    const isInOutbox = one.inOutbox >= 0;
    let verdict: FramedVerdict | undefined;
    // What is in the outbox has been compared byte for byte.
    if (journaled.framedTopics.has(topic)) verdict = isInOutbox ? 'same' : await verdictOf(one, content);
    if (verdict === 'unread') counts.unread++;
    else if (!isInOutbox) counts.byEvents++;
    const isJudged = verdict === 'same' || verdict === 'unread';
    compare(events, one.inEvents, isJudged ? content : bodyPrint(one.record), one, {
      what: 'an output is not what the journal has',
      whose: ({ shard }, ordinal) =>
        ordinal < 0 ? 'what the value is in the journal' : `what event ${ordinal} of shard ${shard} is`,
    });
  }

  function compare(
    table: FingerprintTable,
    slot: number,
    content: Fingerprint,
    { where, name }: Found,
    { what, whose }: { readonly what: string; readonly whose: (lane: Lane, ordinal: number) => string },
  ): void {
    const entry = table.at(slot);
    const lane = lanes.at(entry.lane);
    table.addFlags(slot, SEEN);
    if (!isSame(entry.content, content)) {
      found.find({ what, where, found: `other bytes of ${name}`, expected: whose(lane, entry.ordinal) });
    }
    if (entry.ordinal < 0) return;
    if (entry.ordinal < lane.last) {
      found.find({
        what: 'an output is out of order',
        where,
        found: `${name}, ${whose(lane, entry.ordinal)}, after ${whose(lane, lane.last)}`,
        expected: 'the order of the journal',
      });
    }
    lane.last = entry.ordinal;
    lane.least = Math.min(lane.least, entry.ordinal);
  }

  /** Of a record on a topic with schemas of the registry, by the event of the journal that it is. */
  async function verdictOf({ record: { key, value }, identity }: Found, content: Fingerprint): Promise<FramedVerdict> {
    if (value === null) return 'other';
    const { framed, eventTypes } = journaled;
    const bytes = Buffer.from(value);
    const held = await framed.read(topic, bytes);
    if (held !== undefined && isSame(bodyPrint({ key, value: held }), content)) return 'same';
    const { kind, id, origin } = identity;
    const index = kind === 'state' ? 0 : Number(id.slice(id.lastIndexOf('-') + 1));
    const entityId = key === null ? '' : Buffer.from(key).toString();
    const payload = await ground.journal.payloadOf(eventTypes, entityId, origin, index);
    return payload === undefined ? 'other' : framed.holds(topic, bytes, payload);
  }
}

function hasSeen(table: FingerprintTable, slot: number): boolean {
  return slot >= 0 && (table.at(slot).flags & SEEN) !== 0;
}
