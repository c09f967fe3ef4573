import { ORIGIN_HEADER } from '../codec/header-names.ts';
import { isNudge } from '../codec/put-back.ts';
import type { InputRecord } from '../model/record.ts';
import { type CheckResult, gather, number } from './findings.ts';
import { type Ground, isInFlight } from './ground.ts';
import type { ChunkRow, ShardRow } from './journal.ts';
import type { InputTrace, Traces } from './traces.ts';

/** Records without a trace that are kept to be named, of each span. */
const SUSPECTS = 5;

/** A run of one topic's offsets that one chunk applied, or that nothing is known to have applied. */
interface Span {
  readonly owner: Tally;
  readonly topic: string;
  readonly from: bigint;
  readonly to: bigint;
}

/** Records of some spans: how many there must be, how many there are. */
interface Tally {
  readonly where: string;
  readonly wanted: number;
  found: number;
  readonly suspects: string[];
  untraced: number;
  /** Retention took some of its records, or may have. */
  isCut: boolean;
}

/** The inputs of all passes, held against the journal's counts and against the traces. */
export interface InputCheck {
  pass(index: number, traces: Traces): Promise<void>;
  result(): CheckResult;
}

export function checkInputs(ground: Ground): InputCheck {
  const found = gather('inputs');
  const { topics, steps } = ground;
  const chunks: Tally[] = [];
  const totals = new Map<number, Tally>();
  /** By shard, in order of offsets per topic. */
  const spans = new Map<number, Span[]>();
  const counts = { records: 0, traced: 0, untraced: 0, byChunk: 0, removed: 0 };
  let chunksInFlight = 0;
  let uncounted = 0;

  for (const row of ground.shards.values()) {
    comparePositions(row);
    const list = ground.chunks.get(row.shard) ?? [];
    chunksInFlight += list.filter((chunk) => isInFlight(chunk, ground)).length;
    spans.set(row.shard, spansOf(row, list));
    const tally = tallyOf(`shard ${row.shard}`, row.records);
    tally.isCut = Object.entries(row.countedFrom).some(
      ([topic, from]) => row.applied[topic] === undefined || lowOf(topic, row.shard) > from,
    );
    totals.set(row.shard, tally);
  }

  function lowOf(topic: string, shard: number): bigint {
    return ground.before.get(topic)?.get(shard)?.low ?? 0n;
  }

  /** What Kafka and the journal say of how far the shard is. */
  function comparePositions({ shard, applied, chunk, emitted }: ShardRow): void {
    const committed = ground.committed.get(shard) ?? {};
    for (const [topic, offset] of Object.entries(applied)) {
      const where = `"${topic}" partition ${shard}`;
      const range = ground.after.get(topic)?.get(shard);
      const known = committed[topic];
      if (range !== undefined && offset > range.high) {
        found.find({
          what: 'more is applied than there is',
          where,
          found: `applied up to ${offset}`,
          expected: `at most ${range.high}, where the partition ends`,
        });
      }
      // The group may have gone on since the journal was looked at: only what it can have had then is held against it.
      const earlier = ground.committedBefore.get(shard)?.[topic];
      if (earlier !== undefined && earlier > offset) {
        found.find({
          what: 'more is committed than applied',
          where,
          found: `committed ${earlier}`,
          expected: `at most ${offset}, up to where the journal has applied`,
        });
      }
      if (known === undefined && chunk > 0 && emitted > 0 && range !== undefined) {
        found.find({
          what: 'the committed offset is gone',
          where,
          found: 'none in the group',
          expected: `up to ${offset}`,
        });
      }
    }
  }

  function spansOf(row: ShardRow, list: readonly ChunkRow[]): Span[] {
    const result: Span[] = [];
    const { shard } = row;
    let before =
      list[0]?.chunk === row.heldChunk + 1 ? { chunk: row.heldChunk, positions: row.countedFrom } : undefined;
    for (const chunk of list) {
      if (before !== undefined && chunk.chunk !== before.chunk + 1) {
        found.find({
          what: 'a row of the outbox is missing',
          where: `shard ${shard}`,
          found: `after chunk ${before.chunk}, chunk ${chunk.chunk}`,
          expected: `chunk ${before.chunk + 1}`,
        });
        before = undefined;
      }
      if (before !== undefined) {
        const tally = tallyOf(`shard ${shard}, chunk ${chunk.chunk}`, chunk.inputs ?? -1);
        if (chunk.inputs === undefined) uncounted++;
        else chunks.push(tally);
        for (const [topic, to] of Object.entries(chunk.positions)) {
          const from = before.positions[topic] ?? row.countedFrom[topic];
          if (from === undefined || to === from || !topics.inputs.includes(topic)) {
            // A topic that is read no more, or that nobody knows the start of.
            if (from !== to) tally.isCut = true;
            continue;
          }
          if (to < from) {
            found.find({
              what: 'a position goes back',
              where: `${tally.where}, "${topic}"`,
              found: `${to} after ${from}`,
              expected: `at least ${from}`,
            });
          }
          if (lowOf(topic, shard) > from) tally.isCut = true;
          result.push({ owner: tally, topic, from, to });
        }
      }
      before = chunk;
    }
    const newest = list.at(-1);
    if (newest === undefined) return result;
    if (newest.chunk !== row.chunk) {
      found.find({
        what: 'the newest rows of the outbox are missing',
        where: `shard ${shard}`,
        found: `chunk ${newest.chunk} as the last`,
        expected: `chunk ${row.chunk}`,
      });
      return result;
    }
    for (const [topic, offset] of Object.entries(row.applied)) {
      const led = newest.positions[topic];
      // Records that retention removes before they are read are passed over, and are gone then.
      if (led === undefined || led === offset || (led < offset && lowOf(topic, shard) >= offset)) continue;
      found.find({
        what: led < offset ? 'offsets were passed over' : 'applied has gone back',
        where: `"${topic}" partition ${shard}`,
        found: `applied up to ${offset}`,
        expected: `${led}, to where chunk ${newest.chunk} led`,
      });
    }
    return result;
  }

  async function passOf(row: ShardRow, topic: string, index: number, traces: Traces): Promise<void> {
    const to = row.applied[topic];
    if (to === undefined || !topics.inputs.includes(topic)) return;
    const low = lowOf(topic, row.shard);
    const begin = row.countedFrom[topic] ?? low;
    let from = begin;
    if (low > begin) {
      from = low;
      if (index === 0) counts.removed += Number(low - begin);
    }
    if (from >= to) return;
    const own = (spans.get(row.shard) ?? []).filter((span) => span.topic === topic);
    const total = totals.get(row.shard) as Tally;
    let at = 0;
    steps.begin(`"${topic}" partition ${row.shard}`, Number(to - from));
    for await (const records of ground.logs.read({ topic, partition: row.shard, from, to }, ground.signal)) {
      steps.count('records', records.length);
      for (const record of records) {
        while (at < own.length && record.offset >= (own[at] as Span).to) at++;
        const span = own[at];
        const inside = span !== undefined && record.offset >= span.from ? span.owner : undefined;
        const tallies = inside === undefined ? [total] : [total, inside];
        if (index === 0) {
          counts.records++;
          if (inside !== undefined) counts.byChunk++;
          for (const tally of tallies) tally.found++;
        }
        if (topic === topics.commands && isNudge(record)) {
          // It leads to nothing, and is not to.
          if (index === 0) counts.traced++;
          continue;
        }
        const trace = traceOf(record);
        if (!traces.isOurs(trace)) continue;
        if (traces.has(trace)) {
          counts.traced++;
          continue;
        }
        counts.untraced++;
        for (const tally of tallies) {
          tally.untraced++;
          if (tally.suspects.length < SUSPECTS) tally.suspects.push(trace.place);
        }
      }
    }
  }

  function traceOf({ topic, partition, offset, headers }: InputRecord): InputTrace {
    const origin = topic === topics.commands ? headers[ORIGIN_HEADER] : undefined;
    const command = Array.isArray(origin) ? origin[0] : origin;
    return { place: `${topic}/${partition}/${offset}`, command: command?.toString() };
  }

  function judge(tally: Tally): boolean {
    if (tally.isCut) return false;
    if (tally.found !== tally.wanted) {
      const { suspects, untraced } = tally;
      const who =
        suspects.length === 0
          ? ', each of which left a trace'
          : `; without a trace: ${suspects.join(', ')}${untraced > suspects.length ? ` and ${number(untraced - suspects.length)} more` : ''}`;
      found.find({
        what: tally.found > tally.wanted ? 'offsets were skipped' : 'records were applied more than once',
        where: tally.where,
        found: `${number(tally.wanted)} records applied`,
        expected: `${number(tally.found)}, as its offsets on the topics have${who}`,
      });
    }
    return true;
  }

  return {
    async pass(index, traces) {
      for (const row of ground.shards.values()) {
        for (const topic of topics.inputs) await passOf(row, topic, index, traces);
      }
    },
    result() {
      const judged = chunks.filter((tally) => judge(tally)).length;
      const whole = [...totals.values()].filter((tally) => judge(tally)).length;
      const reach: string[] = [];
      if (whole < totals.size) {
        reach.push(
          `the count of all that was ever applied is held against the topics for ${whole} of ${totals.size} shards: of the others, ` +
            'retention has removed records, or a topic is read no more',
        );
      }
      const note = (sentence: string, count: number) => {
        if (count > 0) reach.push(`${sentence}: ${number(count)}`);
      };
      note('chunks of the outbox that are older than their topics, not counted', chunks.length - judged);
      note('chunks that an earlier version journaled, not counted', uncounted);
      note('offsets that were applied, and that retention has removed (markers among them)', counts.removed);
      note(
        'journaled chunks that wait for Kafka, and what they lead to is not judged (the next process that opens their shards emits them)',
        chunksInFlight,
      );
      note(
        'records that left no trace (no event, value, output or dead letter), so that they can only be counted',
        counts.untraced,
      );
      return found.result({
        compared:
          `${number(counts.records)} input records below where the journal has applied (${number(counts.traced)} with a trace), ` +
          `the counts of ${number(whole)} shards and ${number(judged)} chunks`,
        claim: 'each was applied once',
        counts: { ...counts, chunks: judged, shards: whole },
        reach,
      });
    },
  };
}

function tallyOf(where: string, wanted: number): Tally {
  return { where, wanted, found: 0, suspects: [], untraced: 0, isCut: false };
}
