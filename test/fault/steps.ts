import { partitionFor } from '../../src/topics/partition.ts';
import { type Command, commandOf, POISONS } from './commands.ts';
import type { DoorCall, History, SeenRecord, Topics } from './history.ts';

/** One command and what must come of it, if it is carried out. */
export interface Step {
  readonly id: string;
  readonly entity: string;
  readonly method: string;
  /** Of each change; undefined for a command that changes nothing. */
  readonly amount: number | undefined;
  readonly changes: number;
  readonly answers: boolean;
  readonly poison: boolean;
  /** The commands that it leads to: `<id>#n`. */
  readonly children: readonly string[];
  /** The command that led to it. */
  readonly parent?: string;
  /** Commands for one entity that come from one place are carried out in the order of that place. */
  readonly from: string;
  readonly place: readonly number[];
  /** Its record is in another partition than its entity belongs to: it goes through the command topic. */
  readonly stray: boolean;
  /** The record that it was sent by, or its parent was. */
  readonly input: SeenRecord;
  /** The call at a door that it, or its parent, is of. */
  readonly call?: DoorCall;
  /** Its reply is what the caller is answered. */
  readonly answersCall: boolean;
}

/** What has to be known beside the records to tell what must come of them. */
export type Known = Pick<History, 'topics' | 'calls' | 'excusable'>;

const POISON: ReadonlySet<string> = new Set(POISONS);

/** The commands of all records of the input topic and of the doors, in order of arrival; those that one leads to follow it. */
export function stepsOf({ topics, calls }: Known, seen: readonly SeenRecord[]): Map<string, Step> {
  const steps = new Map<string, Step>();
  for (const record of seen) {
    if (record.topic === topics.input) addSteps(steps, record, commandOf(record), topics);
    else if (isFromDoor(record, topics)) {
      const call = calls[record.n];
      if (call !== undefined) addSteps(steps, record, call.command, topics, call);
    }
  }
  return steps;
}

/** The record is of the command topic and was written by a door; its id is its place, and it has the call's number. */
export function isFromDoor({ topic, n }: SeenRecord, topics: Topics): boolean {
  return topic === topics.commands && n >= 0;
}

function addSteps(
  steps: Map<string, Step>,
  input: SeenRecord,
  command: Command,
  topics: Topics,
  call?: DoorCall,
): void {
  const id = placeOf(input);
  const place = [Number(input.offset)];
  const { method, amount = 0, to = [] } = command;
  const targets = [to].flat();
  const children = targets.map((_, i) => `${id}#${i + 1}`);
  const looks = method === 'Look' || method === 'Peek';
  const forwards = method === 'Send' || method === 'Pay';
  const given =
    method === 'Add' || method === 'Put' ? amount : method === 'Spread' ? -amount * targets.length : -amount;
  const common = { input, ...(call !== undefined && { call }) };
  steps.set(id, {
    ...common,
    id,
    entity: command.id,
    method,
    amount: looks ? undefined : given,
    changes: looks ? 0 : (command.times ?? 1),
    answers: !forwards,
    poison: command.trouble !== undefined && POISON.has(command.trouble),
    children,
    from: call === undefined ? `partition ${input.partition}` : `doors, partition ${input.partition}`,
    place,
    stray: partitionFor(Buffer.from(command.id), topics.partitions) !== input.partition,
    answersCall: !forwards,
  });
  targets.forEach((target, i) => {
    steps.set(`${id}#${i + 1}`, {
      ...common,
      id: `${id}#${i + 1}`,
      entity: target,
      method: 'Receive',
      amount,
      changes: 1,
      answers: true,
      poison: false,
      children: [],
      parent: id,
      from: `${command.id} in partition ${input.partition}${call === undefined ? '' : ' by doors'}`,
      place: [...place, i + 1],
      stray: false,
      answersCall: forwards,
    });
  });
}

/**
 * The steps that take effect: neither dead, nor caused by one that is; a poisoned one never does. Of a call at a door there
 * may be several records, or one that was refused, which leaves no letter: `outputs` tells what was carried out of
 * what its caller cannot be sure of.
 */
export function carriedOut(
  steps: ReadonlyMap<string, Step>,
  dead: ReadonlyMap<string, unknown>,
  /** Ids of the records of all output topics. */
  outputs: ReadonlySet<string>,
  { excusable }: Pick<Known, 'excusable'>,
): Map<string, Step> {
  const showing = (step: Step): boolean => outputsOf(step).some((id) => outputs.has(id));
  const chosen = new Map<DoorCall, Step>();
  for (const step of steps.values()) {
    if (step.call === undefined || step.parent !== undefined) continue;
    const before = chosen.get(step.call);
    // The first that is carried out takes effect.
    if (before === undefined || (!showing(before) && showing(step))) chosen.set(step.call, step);
  }
  const done = new Map<string, Step>();
  for (const step of steps.values()) {
    const { call, parent } = step;
    if (step.poison || dead.has(step.id)) continue;
    if (parent !== undefined && !done.has(parent)) continue;
    if (call !== undefined && parent === undefined && chosen.get(call) !== step) continue;
    if (!showing(step) && mayBeRefused(step, excusable.length > 0)) continue;
    done.set(step.id, step);
  }
  return done;
}

/** Somebody waits for it at a door, and knows of no effect of it. */
function mayBeRefused({ call, parent, answersCall }: Step, isExcusable: boolean): boolean {
  if (call === undefined || call.outcome === 'answered') return false;
  // That a command has taken effect before does not tell of what it was forwarded to.
  if (parent !== undefined) return isExcusable && answersCall;
  return call.outcome === 'failed' || (call.outcome === 'unknown' && isExcusable);
}

/** Its caller knows that it took effect. */
export function isAnswered({ outcome }: DoorCall): boolean {
  return outcome === 'answered' || outcome === 'repeated';
}

/** Ids of the records that a step leads to, if it is carried out. */
export function outputsOf(step: Step): string[] {
  const ids: string[] = [];
  if (step.changes > 0) {
    if (isWallet(step.entity)) ids.push(`${step.id}/state`);
    else for (let i = 1; i <= step.changes; i++) ids.push(`${step.id}/event-${i}`);
  }
  if (step.answers) ids.push(`${step.id}/reply`);
  return [...ids, ...step.children];
}

/** Wallets publish their state, accounts their events. */
export function isWallet(entity: string): boolean {
  return entity.startsWith('wallet-') || entity.startsWith('purse-');
}

export function placeOf(record: Pick<SeenRecord, 'topic' | 'partition' | 'offset'>): string {
  return `${record.topic}/${record.partition}/${record.offset}`;
}

/** The command that an output is of. */
export function commandIdOf(id: string): string {
  return id.replace(/\/(reply|state|event-\d+)$/, '');
}
