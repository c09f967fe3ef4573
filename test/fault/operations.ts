import type { DoorCall, History } from './history.ts';
import type { Operation, Told } from './linearizable.ts';
import { commandIdOf, isAnswered, type Step } from './steps.ts';

/**
 * What was asked of entities, by calls at the doors and by records of the input topic alike, as far as it took effect.
 * Somebody has learned of that when the caller was answered, or when the reader has got the first output of it. A
 * forward is an operation of the other entity, whose answer is the caller's; that one is also told of the first then. Who
 * is told that its command has taken effect before is told of nothing that it was forwarded to.
 */
export function operationsOf(history: History, done: ReadonlyMap<string, Step>): Operation[] {
  const { topics, seen, sent, calls } = history;
  const sentAt = new Map(sent.map(({ n, at }) => [n, at]));
  const seenAt = new Map<string, number>();
  const replies = new Map<string, Told>();
  for (const { topic, id, at, value } of seen) {
    if (topic !== topics.replies && topic !== topics.events) continue;
    const command = commandIdOf(id);
    if (!seenAt.has(command)) seenAt.set(command, at);
    if (topic === topics.replies) replies.set(command, toldBy(value));
  }
  const operations: Operation[] = [];
  const known = new Set<DoorCall>();
  for (const step of done.values()) {
    const { call, id, entity, method, changes } = step;
    if (call !== undefined) known.add(call);
    const isTold = step.parent === undefined || (step.answersCall && call?.outcome === 'answered');
    const answeredAt = isTold ? call?.answeredAt : undefined;
    const answer = (step.answersCall ? call?.answer : undefined) ?? replies.get(id);
    operations.push({
      name:
        call === undefined ? `${id} (${method})` : `${nameOf(call)}${step.parent === undefined ? '' : `, ${method},`}`,
      entity,
      from: call?.invokedAt ?? sentAt.get(step.input.n) ?? Number.NEGATIVE_INFINITY,
      until: Math.min(answeredAt ?? Number.POSITIVE_INFINITY, seenAt.get(id) ?? Number.POSITIVE_INFINITY),
      ...(changes > 0 && { commandId: id }),
      ...(answer !== undefined && { answer }),
    });
  }
  for (const call of calls) {
    // How its answer came about does not count: it must fit.
    if (!isAnswered(call) || known.has(call)) continue;
    const { method, id } = call.command;
    const reads = method === 'Look' || method === 'Peek';
    operations.push({
      name: nameOf(call),
      entity: id,
      from: call.invokedAt,
      until: call.answeredAt ?? Number.POSITIVE_INFINITY,
      ...(!reads && { commandId: `no record of call ${call.n}` }),
      ...(call.answer !== undefined && { answer: call.answer }),
    });
  }
  return operations;
}

function nameOf({ n, command }: DoorCall): string {
  return `call ${n} (${command.method} of ${command.id})`;
}

/** JSON of protobuf leaves out what is 0. */
function toldBy(value: string): Told {
  const { balance = 0, changes = 0 } = JSON.parse(value) as Partial<Told>;
  return { balance, changes };
}
