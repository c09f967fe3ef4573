import { createEncoder } from '../codec/encode.ts';
import { decodeOutbox } from '../codec/outbox.ts';
import { isNudge } from '../codec/put-back.ts';
import { messageOf } from '../errors.ts';
import { isSchemaFormat } from '../model/framed.ts';
import type { InputRecord, OutputRecord } from '../model/record.ts';
import { partitionFor } from '../topics/partition.ts';
import { beyondApplied } from './check-sequences.ts';
import { type CheckResult, type Gathering, gather, number } from './findings.ts';
import { type Fingerprint, FingerprintTable, isSame } from './fingerprints.ts';
import { createFramedOutputs, type FramedVerdict } from './framed-outputs.ts';
import { type Ground, isInFlight, isOfEarlierGeneration } from './ground.ts';
import { asOutput, bodyPrint, fingerprintOf, type Identity, identify, isFromDoor, wholePrint } from './identity.ts';
import type { EventWithPayload, OutboxChunk } from './journal.ts';
import type { Traces } from './traces.ts';

const SEEN = 1;
/** Of a chunk that Kafka is not known to have. */
const IN_FLIGHT = 2;
/** It need not be on the topic. */
const OPTIONAL = 4;
/** An ordinal in a lane of the outbox is chunk * this + the place in the chunk. */
const CHUNK_PLACES = 2 ** 20;
/** Missing outputs that are looked up to be named. */
const NAMED = 200;
const NO_CONTENT: Fingerprint = { high: 0, low: 0 };

/** What one shard writes to one partition: an order that must be kept. */
interface Lane {
  readonly shard: number;
  readonly topic: string;
  readonly partition: number;
  /** Ordinals of what was found of it: the least, and the one that was found last. */
  least: number;
  last: number;
}

/** The outputs of all passes, held against the journal. */
export interface OutputCheck {
  /** One pass: of all outputs, those whose key falls to it. The first one also does what needs no memory. */
  pass(index: number, of: number, traces: Traces): Promise<void>;
  result(): CheckResult;
}

export function checkOutputs(ground: Ground): OutputCheck {
  const { journal, topics, deployment, steps } = ground;
  const found = gather('outputs');
  const encode = createEncoder({ descriptors: ground.descriptors });
  const laneIds = new Map<string, number>();
  const lanes: Lane[] = [];
  const framed = createFramedOutputs(ground.framed, ground.descriptors);
  const framedTopics = new Set<string>();
  const eventDestinations = new Map(
    [...ground.eventDestinations].map(([entityType, list]) => {
      for (const { topic, format } of list) if (isSchemaFormat(format)) framedTopics.add(topic);
      return [entityType, list.map((one) => (isSchemaFormat(one.format) ? framed.unframed(one) : one))] as const;
    }),
  );
  const eventTypes = [...eventDestinations.keys()];
  const eventTopics = new Set([...eventDestinations.values()].flat().map(({ topic }) => topic));
  const covered = coverageOf(ground);
  /** Commands that an operator, or the end of a pause, had handled once more: they are not in the order of their records. */
  const putBacks = new Set<string>();
  const isCommandTopicCut = [...(ground.after.get(topics.commands)?.values() ?? [])].some(({ low }) => low > 0n);
  const counts = {
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
    retainedChunks: [...ground.chunks.values()].reduce((sum, list) => sum + list.length, 0),
  };

  function laneOf(kind: 'outbox' | 'event', shard: number, topic: string, partition: number): number {
    const name = `${kind} ${shard} ${partition} ${topic}`;
    let id = laneIds.get(name);
    if (id === undefined) {
      id = lanes.length;
      lanes.push({ shard, topic, partition, least: Number.POSITIVE_INFINITY, last: -1 });
      laneIds.set(name, id);
    }
    return id;
  }
  const identityOf = (record: OutputRecord | ReturnType<typeof asOutput>, topic: string) =>
    identify(record, { topic, commandTopic: topics.commands, answerTopic: topics.answers, deployment });

  async function* outboxOutputs(): AsyncGenerator<{ chunk: OutboxChunk; place: number; output: OutputRecord }> {
    for await (const chunk of journal.outbox()) {
      let outputs: OutputRecord[];
      try {
        outputs = decodeOutbox(chunk.records);
      } catch (error) {
        covered.unreadable(chunk.shard, chunk.chunk, messageOf(error), found);
        continue;
      }
      for (const [place, output] of outputs.entries()) yield { chunk, place, output };
    }
  }

  const serviceOf = new Map([...ground.components.values()].map((c) => [c.entityType, c.service]));

  /** What the event must look like on each topic that its entity's events go to; `which` output of its command it is. */
  function* eventOutputs(event: EventWithPayload, which: string): Generator<OutputRecord> {
    for (const destination of eventDestinations.get(event.entityType) ?? []) {
      try {
        yield encode({
          destination,
          key: Buffer.from(event.entityId),
          payload: { typeUrl: event.typeUrl, value: event.payload },
          metadata: [],
          ce: {
            id: `${event.commandId}/${which}`,
            source: `/${deployment}/${serviceOf.get(event.entityType) ?? ''}`,
            subject: event.entityId,
          },
          origin: event.commandId,
        });
      } catch {
        // Written by an earlier version of the function, whose types this one does not have.
        counts.unrendered++;
      }
    }
  }

  function wasHeldBack({ shard, epoch }: { readonly shard: number; readonly epoch: number }): boolean {
    return epoch <= (ground.shards.get(shard)?.heldEpoch ?? 0);
  }

  async function* numberedEvents(): AsyncGenerator<{ event: EventWithPayload; index: number }> {
    let before: EventWithPayload | undefined;
    let index = 0;
    for await (const event of journal.events()) {
      index = before?.commandId === event.commandId ? index + (event.seq - before.seq) : 1;
      before = event;
      yield { event, index };
    }
  }

  return {
    async pass(index, of, traces) {
      const isOurs = (key: Uint8Array | null, id: string) =>
        of === 1 || fingerprintOf(key === null ? id : Buffer.from(key).toString('latin1')).low % of === index;
      const isFirst = index === 0;
      laneIds.clear();
      lanes.length = 0;
      const expected = new FingerprintTable();
      const events = new FingerprintTable();
      const seen = new FingerprintTable();
      const printOf = (topic: string, id: string) => fingerprintOf(`${topic}\0${id}`);

      steps.begin('the outbox', counts.retainedChunks);
      let chunk: OutboxChunk | undefined;
      let inFlight = false;
      for await (const { chunk: row, place, output } of outboxOutputs()) {
        if (row !== chunk) {
          steps.count('chunks');
          inFlight = isInFlight(row, ground);
          chunk = row;
        }
        const identity = identityOf(output, output.topic);
        if (identity === undefined) {
          if (isFirst) {
            found.find({
              what: 'an output in the outbox names no command',
              where: `shard ${row.shard}, chunk ${row.chunk}, output ${place + 1}, for "${output.topic}"`,
              found: 'headers that no output of this deployment has',
              expected: 'the headers that every output has',
            });
          }
          continue;
        }
        traces.ofOutput(identity);
        if (identity.kind === 'put back') putBacks.add(identity.origin);
        if (!isOurs(output.key, identity.id)) continue;
        const lane = laneOf('outbox', row.shard, output.topic, output.partition);
        const isNew = expected.put(
          printOf(output.topic, identity.id),
          wholePrint(output, output.partition),
          row.chunk * CHUNK_PLACES + place,
          lane,
          inFlight ? IN_FLIGHT : 0,
        );
        if (!isNew && identity.kind !== 'put back') {
          found.find({
            what: 'an output is in the journal twice',
            where: `shard ${row.shard}, chunk ${row.chunk}, output ${place + 1}`,
            found: `${identity.kind} ${identity.id} for "${output.topic}" again`,
            expected: 'each output once',
          });
        }
      }

      steps.begin('events', await journal.countEvents());
      for await (const { event, index: n } of numberedEvents()) {
        steps.count('events');
        traces.ofCommand(event.commandId);
        if (wasHeldBack(event) || !isOurs(Buffer.from(event.entityId), '')) continue;
        for (const output of eventOutputs(event, `event-${n}`)) {
          const print = printOf(output.topic, `${event.commandId}/event-${n}`);
          const inOutbox = expected.find(print);
          const waits = inOutbox >= 0 && (expected.at(inOutbox).flags & IN_FLIGHT) !== 0;
          const lane = laneOf('event', event.shard, output.topic, output.partition);
          events.put(print, bodyPrint(output), event.shardSeq, lane, waits ? IN_FLIGHT : 0);
        }
      }
      for await (const { commandId } of journal.parked()) traces.ofCommand(commandId);
      for await (const value of journal.values()) {
        traces.ofCommand(value.commandId);
        const { typeUrl, payload, commandId, entityId, shard } = value;
        const key = Buffer.from(entityId);
        if (typeUrl === null || payload === null || wasHeldBack(value) || !isOurs(key, '')) continue;
        for (const output of eventOutputs({ ...value, typeUrl, payload, seq: 0, shardSeq: 0 }, 'state')) {
          const lane = laneOf('event', shard, output.topic, output.partition);
          // Not numbered in its shard, so it keeps no order here.
          events.put(printOf(output.topic, `${commandId}/state`), bodyPrint(output), -1, lane, OPTIONAL);
        }
      }

      // The command topic first: what was put back there is out of order elsewhere.
      for (const topic of [topics.commands, ...topics.outputs.filter((name) => name !== topics.commands)]) {
        for (const [partition, { low, stable }] of ground.after.get(topic) ?? []) {
          steps.begin(`"${topic}" partition ${partition}`, Number(stable - low));
          const known = ground.before.get(topic)?.get(partition)?.stable ?? 0n;
          const judge = judgeOf({ topic, partition, known, isFirst, isOurs, expected, events, seen, printOf, traces });
          for await (const records of ground.logs.read({ topic, partition, from: low, to: stable }, ground.signal)) {
            for (const record of records) await judge(record);
            steps.count('records', records.length);
          }
        }
      }
      await nameMissing(expected, events, printOf);
    },

    result() {
      const { records, byOutbox, byEvents, byHeaders, retainedChunks } = counts;
      const reach: string[] = [];
      const note = (sentence: string, count: number) => {
        if (count > 0) reach.push(`${sentence}: ${number(count)}`);
      };
      note(
        'outputs older than the outbox keeps (journal.outboxRetentionChunks), judged by their headers alone, for their cause, for ' +
          'doubles, and for order where one input record caused them directly',
        byHeaders,
      );
      note(
        'outputs of what another generation did while it served, judged for order and doubles alone',
        counts.earlier,
      );
      note('records that were written after the journal was looked at, not judged', counts.inFlight);
      note('records of others on topics that they share, not judged', counts.foreign);
      note('outputs of the outbox that are older than their topics keep, not judged', counts.removed);
      note(
        'events older than the first event output on their topic (retention, or a route that came later), not judged there',
        counts.beforeTopic,
      );
      note('commands that were put back again in the same way, not judged for doubles', counts.putBack);
      note(
        'outputs that are not in the order of the input, as it is where commands were put back; the command topic does not keep them ' +
          'all, so it cannot be told, not judged for order',
        counts.unordered,
      );
      note('event outputs of types that the function has no more, not judged', counts.unrendered);
      note(
        'events older than the outbox keeps, on topics with schemas of the registry, that cannot be read by these any more, judged for ' +
          'order and doubles alone',
        counts.unread,
      );
      for (const topic of topics.compacted) {
        if (topics.outputs.includes(topic)) reach.push(`"${topic}" is compacted: what is not there is not judged`);
      }
      return found.result({
        compared:
          `${number(records)} records on ${topics.outputs.length} topics, ${number(byOutbox)} of them with ${number(retainedChunks)} ` +
          `chunks of the outbox byte for byte, ${number(byEvents)} more with the events`,
        claim: 'each output is there once, in order',
        counts,
        reach,
      });
    },
  };

  function judgeOf(pass: {
    readonly topic: string;
    readonly partition: number;
    /** What is below it was there before the journal was looked at. */
    readonly known: bigint;
    readonly isFirst: boolean;
    readonly isOurs: (key: Uint8Array | null, id: string) => boolean;
    readonly expected: FingerprintTable;
    readonly events: FingerprintTable;
    readonly seen: FingerprintTable;
    readonly printOf: (topic: string, id: string) => Fingerprint;
    readonly traces: Traces;
  }): (record: InputRecord) => Promise<void> {
    const { topic, partition, known, isFirst, isOurs, expected, events, seen, printOf, traces } = pass;
    const newest = new Map<string, { readonly offset: bigint; readonly rank: number; readonly name: string }>();

    /** What one shard makes of one partition of an input stands in its order. */
    function checkCause(identity: Identity, record: ReturnType<typeof asOutput>, where: string): void {
      const cause = identity.stood ?? (identity.root.derived ? undefined : identity.root);
      // An answer goes where its caller is, whatever shard it is of.
      if (cause === undefined || identity.kind === 'answer' || putBacks.has(identity.origin)) return;
      const home = identity.stood !== undefined ? '' : record.key === null ? '-' : `${homeOf(record.key)}`;
      const way = `${cause.topic}/${cause.partition} ${home} ${identity.service}`;
      const before = newest.get(way);
      const rank = rankOf(identity);
      const name = `${identity.kind} ${identity.id}`;
      if (
        before !== undefined &&
        (before.offset > cause.offset || (before.offset === cause.offset && before.rank > rank))
      ) {
        if (isCommandTopicCut) {
          counts.unordered++;
          return;
        }
        found.find({
          what: 'an output is out of order',
          where,
          found: `${name} after ${before.name}`,
          expected: 'the order of the input',
        });
        return;
      }
      newest.set(way, { offset: cause.offset, rank, name });
    }

    function compare(
      table: FingerprintTable,
      slot: number,
      content: Fingerprint,
      tell: {
        readonly what: string;
        readonly where: string;
        readonly name: string;
        readonly whose: (lane: Lane, ordinal: number) => string;
      },
    ): void {
      const entry = table.at(slot);
      const lane = lanes[entry.lane] as Lane;
      table.addFlags(slot, SEEN);
      if (!isSame(entry.content, content)) {
        found.find({
          what: tell.what,
          where: tell.where,
          found: `other bytes of ${tell.name}`,
          expected: tell.whose(lane, entry.ordinal),
        });
      }
      if (entry.ordinal < 0) return;
      if (entry.ordinal < lane.last) {
        found.find({
          what: 'an output is out of order',
          where: tell.where,
          found: `${tell.name}, ${tell.whose(lane, entry.ordinal)}, after ${tell.whose(lane, lane.last)}`,
          expected: 'the order of the journal',
        });
      }
      lane.last = entry.ordinal;
      lane.least = Math.min(lane.least, entry.ordinal);
    }

    return async (given) => {
      const record = asOutput(given);
      const where = `${topic}/${partition}/${given.offset}`;
      const isKnown = given.offset < known;
      if (topic === topics.commands && isNudge(given)) {
        if (isFirst) {
          counts.records++;
          counts.nudges++;
        }
        return;
      }
      if (topic === topics.commands && isFromDoor(given)) {
        if (isFirst) {
          counts.records++;
          counts.fromDoors++;
        }
        return;
      }
      const identity = identityOf(record, topic);
      if (identity === undefined) {
        if (!isFirst) return;
        counts.records++;
        if (topics.shared.has(topic)) counts.foreign++;
        else if (!isKnown) counts.inFlight++;
        else {
          found.find({
            what: 'an output that nothing explains',
            where,
            found: `a record that names no command of the deployment "${deployment}"`,
            expected: 'only outputs of this deployment',
          });
        }
        return;
      }
      traces.ofOutput(identity);
      if (identity.kind === 'put back') putBacks.add(identity.origin);
      if (!isOurs(record.key, identity.id)) return;
      counts.records++;
      const name = `${identity.kind} ${identity.id}`;
      const print = printOf(topic, identity.id);
      const inOutbox = expected.find(print);
      const inEvents = events.find(print);
      const isAgain =
        (inOutbox >= 0 && (expected.at(inOutbox).flags & SEEN) !== 0) ||
        (inEvents >= 0 && (events.at(inEvents).flags & SEEN) !== 0) ||
        (inOutbox < 0 && inEvents < 0 && !seen.put(print, NO_CONTENT));
      if (isAgain && identity.kind === 'put back') {
        counts.putBack++;
        return;
      }
      if (isAgain) {
        const differs = inOutbox >= 0 && !isSame(expected.at(inOutbox).content, wholePrint(record, partition));
        found.find({
          what: 'an output is doubled',
          where,
          found: `${name} again${differs ? ', with other bytes' : ''}`,
          expected: 'each output once',
        });
        return;
      }
      if (inOutbox >= 0) {
        counts.byOutbox++;
        compare(expected, inOutbox, wholePrint(record, partition), {
          what: 'an output is not what the outbox has',
          where,
          name,
          whose: (lane, ordinal) => `what chunk ${Math.floor(ordinal / CHUNK_PLACES)} of shard ${lane.shard} has`,
        });
      }
      if (inEvents >= 0) {
        const content = events.at(inEvents).content;
        // What is in the outbox has been compared byte for byte.
        const verdict = !framedTopics.has(topic)
          ? undefined
          : inOutbox >= 0
            ? 'same'
            : await verdictOf(record, content, identity);
        if (verdict === 'unread') counts.unread++;
        else if (inOutbox < 0) counts.byEvents++;
        const isJudged = verdict === 'same' || verdict === 'unread';
        compare(events, inEvents, isJudged ? content : bodyPrint(record), {
          what: 'an output is not what the journal has',
          where,
          name,
          whose: (lane, ordinal) =>
            ordinal < 0 ? 'what the value is in the journal' : `what event ${ordinal} of shard ${lane.shard} is`,
        });
      }
      checkCause(identity, record, where);
      if (inOutbox >= 0 || inEvents >= 0) return;
      if (!isKnown) {
        counts.inFlight++;
        return;
      }
      if (isOfEarlierGeneration(identity.root, ground.shards)) {
        counts.earlier++;
        return;
      }
      const fault = await unexplained(identity, record);
      if (fault === undefined) counts.byHeaders++;
      else found.find({ what: 'an output that nothing explains', where, ...fault });
    };

    /** Of a record on a topic with schemas of the registry, by the event of the journal that it is. */
    async function verdictOf(
      { key, value }: ReturnType<typeof asOutput>,
      content: Fingerprint,
      { kind, id, origin }: Identity,
    ): Promise<FramedVerdict> {
      if (value === null) return 'other';
      const bytes = Buffer.from(value);
      const held = await framed.read(topic, bytes);
      if (held !== undefined && isSame(bodyPrint({ key, value: held }), content)) return 'same';
      const index = kind === 'state' ? 0 : Number(id.slice(id.lastIndexOf('-') + 1));
      const payload = await journal.payloadOf(
        eventTypes,
        key === null ? '' : Buffer.from(key).toString(),
        origin,
        index,
      );
      return payload === undefined ? 'other' : framed.holds(topic, bytes, payload);
    }

    async function unexplained(
      identity: Identity,
      record: ReturnType<typeof asOutput>,
    ): Promise<{ found: string; expected: string } | undefined> {
      const name = `${identity.kind} ${identity.id}`;
      const beyond = beyondApplied(identity.origin, ground.shards);
      if (beyond !== undefined) return { found: name, expected: beyond.expected };
      const shard = shardOf(identity, record);
      const lane = shard === undefined ? undefined : laneIds.get(`outbox ${shard} ${partition} ${topic}`);
      const cause =
        identity.stood ?? (identity.root.derived || identity.root.partition !== shard ? undefined : identity.root);
      if (
        covered.isWhole() ||
        (shard !== undefined && covered.isReadable(shard) && lane !== undefined && lanes[lane]?.last !== -1) ||
        (shard !== undefined && cause !== undefined && covered.has(shard, cause.topic, cause.offset))
      ) {
        return { found: name, expected: `the outbox to have it, which keeps what was journaled then` };
      }
      if (identity.kind === 'event' && eventTopics.has(topic)) {
        const entityId = record.key === null ? '' : Buffer.from(record.key).toString();
        if (!(await journal.hasEventOf(eventTypes, entityId, identity.origin))) {
          return { found: name, expected: 'the journal to have an event of this command' };
        }
      }
      return undefined;
    }
  }

  function homeOf(key: Uint8Array): number {
    return partitionFor(key, journal.deployment.shards);
  }

  /** The shard that wrote an output, where that can be told. */
  function shardOf(identity: Identity, { key }: { readonly key: Uint8Array | null }): number | undefined {
    if (
      identity.kind === 'put back' ||
      identity.kind === 'answer' ||
      (identity.stood !== undefined && putBacks.has(identity.origin))
    )
      return undefined;
    if (identity.stood !== undefined) return identity.stood.partition;
    if (identity.kind === 'command') return identity.root.derived ? undefined : identity.root.partition;
    const kind = ground.components.get(identity.service)?.kind;
    if (kind === undefined) return undefined;
    if (kind === 'action' && !identity.root.derived) return identity.root.partition;
    return key === null ? 0 : homeOf(key);
  }

  /** Finds what the journal has and the topics do not, and looks up what it is. */
  async function nameMissing(
    expected: FingerprintTable,
    events: FingerprintTable,
    printOf: (topic: string, id: string) => Fingerprint,
  ): Promise<void> {
    const missingOutputs = new Set<string>();
    const missingEvents = new Set<string>();
    for (const slot of expected.slots()) {
      const { flags, lane: id, ordinal, key } = expected.at(slot);
      const { topic, partition, least } = lanes[id] as Lane;
      if ((flags & (SEEN | IN_FLIGHT)) !== 0 || topics.compacted.has(topic)) continue;
      const isTruncated = (ground.after.get(topic)?.get(partition)?.low ?? 0n) > 0n;
      if (isTruncated && ordinal < least) counts.removed++;
      else missingOutputs.add(textOf(key));
    }
    for (const slot of events.slots()) {
      const { flags, lane: id, ordinal, key } = events.at(slot);
      const { topic, least } = lanes[id] as Lane;
      if ((flags & (SEEN | IN_FLIGHT | OPTIONAL)) !== 0 || topics.compacted.has(topic)) continue;
      if (expected.find(key) >= 0) continue;
      if (ordinal < least) counts.beforeTopic++;
      else missingEvents.add(textOf(key));
    }
    let named = 0;
    if (missingOutputs.size > 0) {
      for await (const { chunk, place, output } of outboxOutputs()) {
        const identity = identityOf(output, output.topic);
        if (identity === undefined || !missingOutputs.has(textOf(printOf(output.topic, identity.id)))) continue;
        found.find({
          what: 'an output was never published',
          where: `shard ${chunk.shard}, chunk ${chunk.chunk}, output ${place + 1}`,
          found: `no ${identity.kind} ${identity.id} in "${output.topic}" partition ${output.partition}`,
          expected: 'each journaled output once',
        });
        if (++named >= NAMED) break;
      }
    }
    if (missingEvents.size > 0) {
      for await (const { event, index } of numberedEvents()) {
        const id = `${event.commandId}/event-${index}`;
        for (const { topic } of eventDestinations.get(event.entityType) ?? []) {
          if (!missingEvents.has(textOf(printOf(topic, id)))) continue;
          found.find({
            what: 'an event was never published',
            where: `${event.entityType} "${event.entityId}", event ${event.seq}`,
            found: `no event ${id} in "${topic}"`,
            expected: 'each event once',
          });
          named++;
        }
        if (named >= NAMED) break;
      }
    }
  }
}

function textOf({ high, low }: Fingerprint): string {
  return `${high}:${low}`;
}

/** The order of one command's outputs on one topic (engine/decide.ts). */
function rankOf({ kind, id }: Identity): number {
  if (kind === 'event') return Number(id.slice(id.lastIndexOf('-') + 1));
  return kind === 'state' ? Number.MAX_SAFE_INTEGER - 1 : Number.MAX_SAFE_INTEGER;
}

/** What the outbox must have, since it keeps everything from some chunk on. */
function coverageOf(ground: Ground) {
  const unreadable = new Set<number>();
  const told = new Set<string>();
  const firstOf = (shard: number) => ground.chunks.get(shard)?.[0];
  return {
    isReadable: (shard: number) => !unreadable.has(shard),
    /** Everything that was ever journaled. */
    isWhole: () =>
      unreadable.size === 0 &&
      [...ground.shards.values()].every(
        ({ shard, chunk, heldChunk }) => chunk === heldChunk || firstOf(shard)?.chunk === heldChunk + 1,
      ),
    /** What a record of the shard's input at `offset` led to. */
    has(shard: number, topic: string, offset: bigint): boolean {
      const first = firstOf(shard);
      if (first === undefined || unreadable.has(shard)) return false;
      const row = ground.shards.get(shard);
      const from = first.chunk === (row?.heldChunk ?? 0) + 1 ? row?.countedFrom[topic] : first.positions[topic];
      return from !== undefined && offset >= from;
    },
    unreadable(shard: number, chunk: number, reason: string, found: Gathering): void {
      unreadable.add(shard);
      const where = `shard ${shard}, chunk ${chunk}`;
      if (told.has(where)) return;
      told.add(where);
      found.find({
        what: 'a row of the outbox cannot be read',
        where,
        found: reason,
        expected: 'an outbox as it was written',
      });
    },
  };
}
