import { isConserved } from './commands.ts';
import type { History, SeenRecord } from './history.ts';
import { type Change, checkLinearizable } from './linearizable.ts';
import { operationsOf } from './operations.ts';
import {
  carriedOut,
  commandIdOf,
  isAnswered,
  isFromDoor,
  isWallet,
  type Known,
  outputsOf,
  placeOf,
  type Step,
  stepsOf,
} from './steps.ts';

/*
 * The offline checker: what a history must be like if every input took effect exactly once, in order. It knows the
 * contract of the function and the names of outputs; it knows nothing of shards, chunks, processes and faults.
 */

/** Something that must not be: a sentence, and the records that it is about. */
export interface Violation {
  readonly kind:
    | 'lost'
    | 'doubled'
    | 'invented'
    | 'order'
    | 'state'
    | 'total'
    | 'dead-letter'
    | 'reader'
    | 'journal'
    | 'call'
    | 'linearizability';
  readonly sentence: string;
  readonly records: readonly SeenRecord[];
}

/** What a checked history came to. */
export interface Verdict {
  readonly violations: readonly Violation[];
  readonly commands: number;
  readonly outputs: number;
  readonly deadLetters: number;
  /** Dead letters of commands that are not poisoned. */
  readonly excused: number;
  readonly unknown: number;
  /** Calls at the doors, and those of which nobody knows whether they took effect. */
  readonly calls: number;
  readonly callsUnknown: number;
}

export function checkHistory(history: History): Verdict {
  const violations: Violation[] = [];
  const { topics, seen } = history;
  const of = (topic: string) => seen.filter((record) => record.topic === topic);
  const inputs = of(topics.input);
  const atDoors = seen.filter((record) => isFromDoor(record, topics));
  const commands = of(topics.commands).filter((record) => !isFromDoor(record, topics));
  const outputs = { replies: of(topics.replies), events: of(topics.events), commands };
  const letters = of(topics.deadLetters);
  const steps = stepsOf(history, seen);
  const dead = deadCommands(letters, steps, commands, history, violations);
  const ids = new Set(Object.values(outputs).flatMap((records) => records.map(({ id }) => id)));
  const done = carriedOut(steps, dead, ids, history);

  checkAcknowledged(inputs, history, violations);
  checkCalls(atDoors, history, steps, done, violations);
  checkOnce(done, outputs, steps, violations);
  checkStates(done, outputs, violations);
  const orders = ordersOf(done, outputs.events, history);
  for (const { operation, sentence } of checkLinearizable(operationsOf(history, done), orders)) {
    violations.push({ kind: 'linearizability', sentence: `${operation.name} ${sentence}`, records: [] });
  }
  if (!violations.some(({ kind }) => kind === 'lost')) checkTotal(done, dead, steps, outputs.events, violations);
  checkCuts(history, steps, violations);
  if (history.final !== undefined) checkSame(seen, history.final, violations);
  if (history.journal !== undefined) checkJournal(history, outputs.events, inputs, violations);
  return {
    violations,
    commands: inputs.length,
    outputs: outputs.replies.length + outputs.events.length,
    deadLetters: letters.length,
    excused: [...dead.keys()].filter((id) => steps.get(id)?.poison === false).length,
    unknown: history.sent.filter(({ outcome }) => outcome === 'unknown').length,
    calls: history.calls.length,
    callsUnknown: history.calls.filter(({ outcome }) => outcome === 'unknown').length,
  };
}

/** Outputs that the inputs must lead to and that have not been seen: what is waited for. A command that is dead counts as done. */
export function missingOutputs(known: Known, seen: readonly SeenRecord[]): number {
  const { topics } = known;
  const steps = stepsOf(known, seen);
  const got = new Set<string>();
  const command = new Map<string, string>();
  const letters: SeenRecord[] = [];
  for (const record of seen) {
    if (record.topic === topics.deadLetters) letters.push(record);
    else if (record.topic !== topics.input && !isFromDoor(record, topics)) {
      got.add(record.id);
      if (record.topic === topics.commands) command.set(placeOf(record), record.id);
    }
  }
  const dead = new Map<string, SeenRecord>();
  for (const letter of letters) dead.set(command.get(letter.from) ?? letter.from, letter);
  let missing = 0;
  for (const step of carriedOut(steps, dead, got, known).values()) {
    for (const id of outputsOf(step)) if (!got.has(id)) missing++;
  }
  for (const step of steps.values()) if (step.poison && step.call === undefined && !dead.has(step.id)) missing++;
  return missing;
}

/** Commands that were given up, each with its letter. */
function deadCommands(
  letters: readonly SeenRecord[],
  steps: ReadonlyMap<string, Step>,
  commands: readonly SeenRecord[],
  { excusable }: History,
  violations: Violation[],
): Map<string, SeenRecord> {
  const commandAt = new Map(commands.map((record) => [placeOf(record), record.id]));
  const dead = new Map<string, SeenRecord>();
  for (const letter of letters) {
    const id = commandAt.get(letter.from) ?? letter.from;
    const step = steps.get(id);
    const before = dead.get(id);
    if (step === undefined) {
      violations.push({ kind: 'invented', sentence: `a dead letter of ${id}, which nobody sent`, records: [letter] });
    } else if (before !== undefined) {
      violations.push({ kind: 'doubled', sentence: `${id} became a dead letter twice`, records: [before, letter] });
    } else if (!step.poison && !excusable.includes(letter.code)) {
      violations.push({
        kind: 'dead-letter',
        sentence: `${id} (${step.method}) became a dead letter (${letter.code}), and nothing was wrong with it`,
        records: [step.input, letter],
      });
    }
    dead.set(id, letter);
  }
  return dead;
}

/** A record that the brokers acknowledged is where they said. */
function checkAcknowledged(inputs: readonly SeenRecord[], { sent, topics }: History, violations: Violation[]): void {
  const at = new Map(inputs.map((record) => [`${record.partition}/${record.offset}`, record]));
  for (const { n, outcome, partition, offset } of sent) {
    if (outcome === 'unknown') continue;
    const record = at.get(`${partition}/${offset}`);
    if (record?.n === n) continue;
    violations.push({
      kind: 'lost',
      sentence: `command ${n} was acknowledged at ${topics.input}/${partition}/${offset}, and there is ${record === undefined ? 'nothing' : `command ${record.n}`}`,
      records: record === undefined ? [] : [record],
    });
  }
}

/** What the callers at the doors were told agrees with the log: at most one effect of each, and of what failed none. */
function checkCalls(
  atDoors: readonly SeenRecord[],
  { calls, excusable }: History,
  steps: ReadonlyMap<string, Step>,
  done: ReadonlyMap<string, Step>,
  violations: Violation[],
): void {
  const records = new Map<number, SeenRecord[]>();
  for (const record of atDoors) {
    const same = records.get(record.n);
    if (same === undefined) records.set(record.n, [record]);
    else same.push(record);
    if (calls[record.n] === undefined) {
      violations.push({
        kind: 'invented',
        sentence: `${record.id} is a command of call ${record.n}, which nobody made`,
        records: [record],
      });
    }
  }
  for (const call of calls) {
    const own = records.get(call.n) ?? [];
    const name = `call ${call.n} (${call.command.method} of ${call.command.id}; ${call.attempts.join(', ')})`;
    const complain = (kind: Violation['kind'], sentence: string) =>
      violations.push({ kind, sentence: `${name} ${sentence}`, records: own });
    const poison = own.some(({ id }) => steps.get(id)?.poison);
    const effect = own.find(({ id }) => done.has(id));
    if (!call.keyed && own.length > 1) complain('doubled', `was made once, and is in the log ${own.length} times`);
    if (isAnswered(call) && poison) complain('call', 'was answered, and its command is one that fails');
    if (call.outcome !== 'failed') continue;
    if (effect !== undefined) complain('call', `failed, and ${effect.id} took effect`);
    else if (!poison && excusable.length === 0) complain('call', 'failed, and nothing was wrong with it');
  }
}

/** What an event, a state or an answer says. */
interface Said {
  readonly amount: number;
  readonly balance: number;
  readonly changes: number;
}

interface Outputs {
  readonly replies: readonly SeenRecord[];
  readonly events: readonly SeenRecord[];
  readonly commands: readonly SeenRecord[];
}

function checkOnce(
  done: ReadonlyMap<string, Step>,
  { replies, events, commands }: Outputs,
  steps: ReadonlyMap<string, Step>,
  violations: Violation[],
): void {
  const found = new Map<string, SeenRecord[]>();
  for (const record of [...replies, ...events, ...commands]) {
    const same = found.get(record.id);
    if (same === undefined) found.set(record.id, [record]);
    else same.push(record);
  }
  for (const step of steps.values()) {
    const ids = done.has(step.id) ? outputsOf(step) : [];
    if (step.stray) ids.push(step.id);
    for (const id of ids) {
      const records = found.get(id) ?? [];
      found.delete(id);
      if (records.length === 1) continue;
      violations.push(
        records.length === 0
          ? { kind: 'lost', sentence: `${id} (${step.method} of ${step.entity}) is missing`, records: [step.input] }
          : { kind: 'doubled', sentence: `${id} is there ${records.length} times`, records: [step.input, ...records] },
      );
    }
  }
  const effects = new Map([...done.values()].map((step) => [step.call, step.id]));
  for (const [id, records] of found) {
    const step = steps.get(commandIdOf(id));
    const other = step?.call && effects.get(step.call);
    violations.push({
      kind: other === undefined ? 'invented' : 'doubled',
      sentence:
        step === undefined
          ? `${id} is there, and nobody asked for it`
          : `${id} is there, and the command was not carried out`,
      records: step === undefined ? records : [step.input, ...records],
    });
  }
}

/**
 * Walks every entity's changes in the order in which they were published: each answer and each state is the sum of what
 * came before, and commands that come from one place come in their order there.
 */
function checkStates(done: ReadonlyMap<string, Step>, { replies, events }: Outputs, violations: Violation[]): void {
  const entities = new Map<string, { sums: number[]; partition: number }>();
  /** How many changes its entity had after a command. */
  const position = new Map<string, number>();
  for (const record of events) {
    const step = done.get(commandIdOf(record.id));
    if (step === undefined) continue;
    let entity = entities.get(step.entity);
    if (entity === undefined) {
      entity = { sums: [0], partition: record.partition };
      entities.set(step.entity, entity);
    }
    const each = step.amount ?? 0;
    const sum = (entity.sums.at(-1) ?? 0) + each;
    entity.sums.push(sum);
    position.set(step.id, entity.sums.length - 1);
    if (record.key !== step.entity || record.partition !== entity.partition) {
      violations.push({
        kind: 'order',
        sentence: `${record.id} of ${step.entity} has the key ${record.key} in partition ${record.partition}, and another one is in partition ${entity.partition}`,
        records: [record],
      });
    }
    // JSON of protobuf leaves out what is 0.
    const { amount = 0, balance = 0, changes = 0 } = JSON.parse(record.value) as Partial<Said>;
    const fits = isWallet(step.entity) ? balance === sum && changes === entity.sums.length - 1 : amount === each;
    if (!fits) {
      violations.push({
        kind: 'state',
        sentence: `${record.id} of ${step.entity} says ${record.value}; by what was published before it, it is change ${entity.sums.length - 1} and comes to ${sum} by ${each}`,
        records: [step.input, record],
      });
    }
  }
  const lastAnswer = new Map<string, { changes: number; record: SeenRecord }>();
  for (const record of replies) {
    const step = done.get(commandIdOf(record.id));
    if (step === undefined) continue;
    const { balance = 0, changes = 0 } = JSON.parse(record.value) as Partial<Said>;
    const sums = entities.get(step.entity)?.sums ?? [0];
    const at = step.changes > 0 ? position.get(step.id) : changes;
    if (changes !== at || sums[changes] !== balance) {
      violations.push({
        kind: 'state',
        sentence: `${record.id} answers ${record.value}, and ${step.entity} has ${sums[at ?? 0]} after ${at} changes`,
        records: [step.input, record],
      });
    }
    if (step.changes === 0) position.set(step.id, changes);
    const before = lastAnswer.get(step.entity);
    if (before !== undefined && before.changes > changes) {
      violations.push({
        kind: 'order',
        sentence: `${record.id} answers for change ${changes} of ${step.entity}, after an answer for change ${before.changes}`,
        records: [before.record, record],
      });
    }
    lastAnswer.set(step.entity, { changes, record });
  }
  checkOrder(done, position, violations);
}

/** The changes of every entity in their order: the journal's, of which it keeps those of wallets only until the next; else that of the topic. */
function ordersOf(
  done: ReadonlyMap<string, Step>,
  events: readonly SeenRecord[],
  { journal }: History,
): Map<string, Change[]> {
  const orders = new Map<string, Change[]>();
  const journaled = new Set(journal?.events.map(({ entity }) => entity));
  const published = events.map(({ key, id }) => ({ entity: key, commandId: commandIdOf(id) }));
  const all = [...(journal?.events ?? []), ...published.filter(({ entity }) => !journaled.has(entity))];
  for (const { entity, commandId } of all) {
    let order = orders.get(entity);
    if (order === undefined) {
      order = [];
      orders.set(entity, order);
    }
    order.push({ commandId, balance: (order.at(-1)?.balance ?? 0) + (done.get(commandId)?.amount ?? 0) });
  }
  return orders;
}

/** What one place asks of one entity is done in the order in which it was asked there. */
function checkOrder(
  done: ReadonlyMap<string, Step>,
  position: ReadonlyMap<string, number>,
  violations: Violation[],
): void {
  const ways = new Map<string, Step[]>();
  for (const step of done.values()) {
    const way = `${step.from} > ${step.entity}`;
    const steps = ways.get(way);
    if (steps === undefined) ways.set(way, [step]);
    else steps.push(step);
  }
  for (const [way, steps] of ways) {
    steps.sort(byPlace);
    let last: { step: Step; at: number } | undefined;
    for (const step of steps) {
      const at = position.get(step.id);
      if (at === undefined) continue;
      // One that changes nothing may stand where the one before it does.
      if (last !== undefined && at < last.at + step.changes) {
        violations.push({
          kind: 'order',
          sentence: `${step.id} took effect before ${last.step.id} (${way}): change ${at} and change ${last.at}`,
          records: [last.step.input, step.input],
        });
      }
      last = { step, at };
    }
  }
}

function byPlace(one: Step, other: Step): number {
  for (let i = 0; i < one.place.length; i++) {
    const difference = (one.place[i] ?? 0) - (other.place[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** When all is done, what was taken has been given, except for what was on its way to a command that is dead. */
function checkTotal(
  done: ReadonlyMap<string, Step>,
  dead: ReadonlyMap<string, SeenRecord>,
  steps: ReadonlyMap<string, Step>,
  events: readonly SeenRecord[],
  violations: Violation[],
): void {
  let total = 0;
  for (const record of events) {
    const step = done.get(commandIdOf(record.id));
    if (step !== undefined && isConserved(step.entity)) total += step.amount ?? 0;
  }
  let buried = 0;
  for (const step of steps.values()) {
    // What was refused to a caller at a door leaves no letter.
    const isBuried =
      dead.has(step.id) || (step.call !== undefined && done.has(step.parent ?? '') && !done.has(step.id));
    if (step.method === 'Receive' && isBuried) buried += step.amount ?? 0;
  }
  if (total + buried !== 0) {
    violations.push({
      kind: 'total',
      sentence: `all balances come to ${total}, and ${buried} is with dead letters: together they must come to nothing`,
      records: [],
    });
  }
}

/** At no cut has more been given than taken. */
function checkCuts({ seen, cuts, topics }: History, steps: ReadonlyMap<string, Step>, violations: Violation[]): void {
  const moves = seen.flatMap((record, i) => {
    if (record.topic !== topics.events) return [];
    const step = steps.get(commandIdOf(record.id));
    if (step?.amount === undefined || !isConserved(step.entity)) return [];
    return [{ i, record, amount: step.amount, partition: `${record.topic}/${record.partition}` }];
  });
  for (const { upTo, ends } of cuts) {
    let total = 0;
    for (const { i, record, amount, partition } of moves) {
      const counts = amount > 0 ? i < upTo : record.offset < (ends[partition] ?? 0n);
      if (counts) total += amount;
    }
    if (total <= 0) continue;
    violations.push({
      kind: 'total',
      sentence: `at the cut after ${upTo} records the balances came to ${total}: more had been given than taken`,
      records: moves
        .filter(({ i, amount }) => amount > 0 && i < upTo)
        .map(({ record }) => record)
        .slice(-5),
    });
  }
}

/** Everybody reads the same. */
function checkSame(seen: readonly SeenRecord[], final: readonly SeenRecord[], violations: Violation[]): void {
  const first = new Map(seen.map((record) => [placeOf(record), record]));
  for (const record of final) {
    const before = first.get(placeOf(record));
    first.delete(placeOf(record));
    if (before !== undefined && before.id === record.id && before.value === record.value) continue;
    violations.push({
      kind: 'reader',
      sentence: `at the end ${placeOf(record)} is ${record.id}; the reader that was there all the time had ${before?.id ?? 'nothing'} there`,
      records: before === undefined ? [record] : [before, record],
    });
  }
  for (const [place, record] of first) {
    violations.push({
      kind: 'reader',
      sentence: `${place} (${record.id}) was read once, and at the end it is not there`,
      records: [record],
    });
  }
}

/** The journal tells of the same effects as the topics, all input is applied and committed, and nothing is left over. */
function checkJournal(
  { journal, committed, topics }: History,
  events: readonly SeenRecord[],
  inputs: readonly SeenRecord[],
  violations: Violation[],
): void {
  if (journal === undefined) return;
  const complain = (sentence: string, records: readonly SeenRecord[] = []) =>
    violations.push({ kind: 'journal', sentence, records });
  const published = new Map<string, string[]>();
  for (const record of events) {
    const list = published.get(record.key);
    if (list === undefined) published.set(record.key, [commandIdOf(record.id)]);
    else list.push(commandIdOf(record.id));
  }
  const journaled = new Map<string, string[]>();
  for (const { entity, seq, commandId } of journal.events) {
    const list = journaled.get(entity) ?? [];
    if (seq !== list.length + 1)
      complain(`the event after ${list.length} of ${entity} in the journal has the number ${seq}`);
    list.push(commandId);
    journaled.set(entity, list);
  }
  for (const [entity, list] of journaled) {
    const topic = published.get(entity) ?? [];
    const at = list.findIndex((id, i) => topic[i] !== id);
    if (at >= 0 || topic.length !== list.length) {
      complain(
        `${entity} has ${list.length} events in the journal and ${topic.length} on the topic; number ${at + 1} is of ${list[at]} and of ${topic[at]}`,
      );
    }
  }
  for (const { entity, revision, commandId } of journal.values) {
    const topic = published.get(entity) ?? [];
    if (revision !== topic.length || commandId !== topic.at(-1)) {
      complain(
        `${entity} was changed ${revision} times by the journal, last by ${commandId}; on the topic it is ${topic.length} times, last by ${topic.at(-1)}`,
      );
    }
  }
  for (const [entity] of published) {
    if (!journaled.has(entity) && !journal.values.some((value) => value.entity === entity)) {
      complain(`${entity} has outputs and is not in the journal`);
    }
  }
  if (journal.unemitted > 0)
    complain(`${journal.unemitted} chunks wait in the outbox after all engines have stopped in order`);
  const last = new Map<number, bigint>();
  for (const { partition, offset } of inputs) last.set(partition, offset + 1n);
  for (const { shard, owners, applied, shardSeq, events: count, firstSeq, lastSeq } of journal.shards) {
    if (owners.length > 0)
      complain(`shard ${shard} is owned by ${owners.join(', ')} after all engines have stopped in order`);
    if (count > 0 && (firstSeq !== 1 || lastSeq !== count || shardSeq !== count)) {
      complain(`shard ${shard} has ${count} events numbered ${firstSeq} to ${lastSeq}, and says ${shardSeq}`);
    }
    if (BigInt(applied[topics.input] ?? -1) < (last.get(shard) ?? 0n)) {
      complain(`shard ${shard} has applied ${applied[topics.input]} and its input goes up to ${last.get(shard)}`);
    }
    for (const [topic, offset] of Object.entries(applied)) {
      const inGroup = committed?.[topic]?.[String(shard)];
      if (committed !== undefined && inGroup !== offset) {
        complain(`shard ${shard} has applied ${topic} up to ${offset}, and the group has committed ${inGroup}`);
      }
    }
  }
}
