import type { Message } from 'kafkajs';
import type { ReadRecord } from './kafka.ts';
import type { Random } from './random.ts';

/*
 * What the ledgers of the function `trouble` must make of a log of commands: the oracle of the tests of exactly-once.
 * It knows nothing of shards, chunks and processes, only what is written in the function's own contract.
 */

/** A command for a ledger, as its record's value (JSON) and type. */
export interface LedgerCommand {
  readonly type: 'AddCommand' | 'AddManyCommand' | 'AddWithEffectsCommand' | 'AddAndForwardCommand';
  readonly id: string;
  readonly amount: number;
  readonly times?: number;
  readonly to?: string | readonly string[];
}

/** Methods that take commands from the input topic; their types are `<method>Command`. */
export const LEDGER_METHODS = ['Add', 'AddMany', 'AddWithEffects', 'AddAndForward'] as const;

export function ledgerMessage({ type, ...fields }: LedgerCommand): Message {
  return {
    key: fields.id,
    value: JSON.stringify(fields),
    headers: { ce_type: `trouble.${type}`, 'content-type': 'application/json' },
  };
}

const DIRECT = 8;
const FORWARDING = 4;
const TARGETS = 3;

/**
 * A random command. Ledgers `direct-*` answer to every command, `forward-*` to none: the answer is that of `target-*`;
 * `effect-*` are changed by side effects alone.
 */
export function randomLedgerCommand(random: Random): LedgerCommand {
  const amount = 1 + random.int(1_000);
  const kind = random.int(10);
  if (kind < 2) {
    const id = `forward-${random.int(FORWARDING)}`;
    return { type: 'AddAndForwardCommand', id, amount, to: `target-${random.int(TARGETS)}` };
  }
  const id = `direct-${random.int(DIRECT)}`;
  if (kind < 5) {
    const to = Array.from({ length: 1 + random.int(2) }, () => `effect-${random.int(TARGETS)}`);
    return { type: 'AddWithEffectsCommand', id, amount, to };
  }
  if (kind === 5) return { type: 'AddManyCommand', id, amount, times: 1 + random.int(3) };
  return { type: 'AddCommand', id, amount };
}

/** One step of a ledger: which command (`topic/partition/offset#n`) changes it, by how much in how many events. */
interface Step {
  readonly ledger: string;
  readonly amount: number;
  readonly times: number;
  readonly answers: boolean;
  /** Steps of one ledger that come from one place come in the order in which they were asked for there. */
  readonly from: string;
}

/** What the input log leads to, by command id. */
function stepsOf(topic: string, inputs: readonly ReadRecord[]): Map<string, Step> {
  const steps = new Map<string, Step>();
  for (const { partition, offset, value, headers } of inputs) {
    const { id: ledger, amount, times = 1, to = [] } = JSON.parse(String(value)) as LedgerCommand;
    const id = `${topic}/${partition}/${offset}`;
    const forwards = headers.ce_type === 'trouble.AddAndForwardCommand';
    steps.set(id, { ledger, amount, times, answers: !forwards, from: `partition ${partition}` });
    [to].flat().forEach((target, i) => {
      steps.set(`${id}#${i + 1}`, {
        ledger: target,
        amount,
        times: 1,
        answers: true,
        from: `${ledger} in partition ${partition}`,
      });
    });
  }
  return steps;
}

/** What was published, in the order of each partition. */
export interface Published {
  readonly replies: readonly ReadRecord[];
  readonly events: readonly ReadRecord[];
}

/** One row of the journal's event table, in the order of each ledger. */
export interface JournaledEvent {
  readonly ledger: string;
  readonly seq: number;
  readonly commandId: string;
}

/**
 * Everything in which the outputs and the journal differ from what the input log must lead to, a sentence each; none:
 * each command was carried out exactly once, in order, and everyone was told of it exactly once.
 */
export function ledgerFaults(
  topic: string,
  inputs: readonly ReadRecord[],
  published: Published,
  journal?: readonly JournaledEvent[],
): string[] {
  const steps = stepsOf(topic, inputs);
  const faults: string[] = [];
  checkOnce(
    'reply',
    faults,
    published.replies,
    [...steps].filter(([, step]) => step.answers).map(([id]) => `${id}/reply`),
  );
  const eventIds = [...steps].flatMap(([id, { times }]) =>
    Array.from({ length: times }, (_, i) => `${id}/event-${i + 1}`),
  );
  checkOnce('event', faults, published.events, eventIds);
  checkBalances(faults, published.replies, steps);
  checkOrder('reply', faults, published.replies, steps);
  checkOrder('event', faults, published.events, steps);
  if (journal !== undefined) checkJournal(faults, published.events, journal);
  return faults;
}

/** What the input log must lead to and is not published yet. */
export function missing(topic: string, inputs: readonly ReadRecord[], { replies, events }: Published): number {
  let expected = 0;
  for (const { times, answers } of stepsOf(topic, inputs).values()) expected += times + (answers ? 1 : 0);
  return expected - new Set([...replies, ...events].map(idOf)).size;
}

function checkOnce(what: string, faults: string[], records: readonly ReadRecord[], expected: readonly string[]): void {
  const counts = new Map<string, number>(expected.map((id) => [id, 0]));
  for (const record of records) {
    const count = counts.get(idOf(record));
    if (count === undefined) faults.push(`nobody asked for the ${what} ${idOf(record)}`);
    else counts.set(idOf(record), count + 1);
  }
  for (const [id, count] of counts) if (count !== 1) faults.push(`the ${what} ${id} was published ${count} times`);
}

/** Each answer has the balance and the number of changes of the one before it and its own. */
function checkBalances(faults: string[], replies: readonly ReadRecord[], steps: ReadonlyMap<string, Step>): void {
  const before = new Map<string, { balance: number; changes: number }>();
  for (const record of replies) {
    const step = steps.get(commandOf(record));
    if (step === undefined) continue;
    const { balance, changes } = JSON.parse(String(record.value)) as { balance: number; changes: number };
    const last = before.get(step.ledger) ?? { balance: 0, changes: 0 };
    before.set(step.ledger, { balance, changes });
    if (changes !== last.changes + step.times || balance !== last.balance + step.amount * step.times) {
      faults.push(
        `after ${JSON.stringify(last)} the ledger ${step.ledger} answered ${idOf(record)}, ` +
          `${step.times} times ${step.amount}, with ${JSON.stringify({ balance, changes })}`,
      );
    }
  }
}

/** What one partition of the input, or one ledger, asks of one ledger is done in the order in which it was asked. */
function checkOrder(
  what: string,
  faults: string[],
  records: readonly ReadRecord[],
  steps: ReadonlyMap<string, Step>,
): void {
  const last = new Map<string, { place: readonly number[]; id: string }>();
  for (const record of records) {
    const id = idOf(record);
    const step = steps.get(commandOf(record));
    if (step === undefined) continue;
    if (record.key?.toString() !== step.ledger) faults.push(`the ${what} ${id} has the key ${String(record.key)}`);
    const place = (/\/(\d+)(?:#(\d+))?\/(?:reply|event-(\d+))$/.exec(id) ?? []).slice(1).map((n) => Number(n ?? 0));
    const way = `${step.from} > ${step.ledger}`;
    const earlier = last.get(way);
    if (earlier !== undefined && !isBefore(earlier.place, place)) {
      faults.push(`the ${what} ${id} came after ${earlier.id} (${way})`);
    }
    last.set(way, { place, id });
  }
}

function isBefore(one: readonly number[], other: readonly number[]): boolean {
  for (let i = 0; i < one.length; i++) {
    const difference = (one[i] ?? 0) - (other[i] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}

/** The journal has each ledger's events as the topic has them, numbered from 1 without a gap. */
function checkJournal(faults: string[], events: readonly ReadRecord[], journal: readonly JournaledEvent[]): void {
  const told = new Map<string, string[]>();
  for (const record of events) {
    const ledger = String(record.key);
    told.set(ledger, [...(told.get(ledger) ?? []), commandOf(record)]);
  }
  const kept = new Map<string, string[]>();
  for (const { ledger, seq, commandId } of journal) {
    const before = kept.get(ledger) ?? [];
    if (seq !== before.length + 1)
      faults.push(`the journal's event ${before.length + 1} of ${ledger} has the number ${seq}`);
    kept.set(ledger, [...before, commandId]);
  }
  for (const ledger of new Set([...told.keys(), ...kept.keys()])) {
    const [topic, table] = [told.get(ledger) ?? [], kept.get(ledger) ?? []];
    const at = Array.from({ length: Math.max(topic.length, table.length) }).findIndex((_, i) => topic[i] !== table[i]);
    if (at >= 0)
      faults.push(`event ${at + 1} of ${ledger} is of ${topic[at]} on the topic and of ${table[at]} in the journal`);
  }
}

function idOf(record: ReadRecord): string {
  return record.headers.ce_id ?? '';
}

/** The command that a reply or an event is of. */
function commandOf(record: ReadRecord): string {
  return idOf(record).replace(/\/[^/]*$/, '');
}
