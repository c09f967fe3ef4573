import { partitionFor } from '../../src/topics/partition.ts';
import { createRandom } from '../support/random.ts';
import { type Command, commandMessage, POISONS, randomCall, randomCommand } from './commands.ts';
import type { DoorCall, History, SeenRecord, Topics } from './history.ts';

const TOPICS: Topics = {
  partitions: 4,
  input: 'orders',
  replies: 'replies',
  events: 'events',
  deadLetters: 'dead-letters',
  commands: 'bank-commands',
};

/** What may be changed in a history to make it a wrong one. */
export type OpenHistory = { -readonly [K in keyof History]: History[K] } & { seen: SeenRecord[] };

/** A history in which every command takes effect once, one after the other: made by hand, without any engine. */
export function perfectHistory(options: { readonly seed: number; readonly commands: number }): OpenHistory {
  const random = createRandom(options.seed);
  const seen: SeenRecord[] = [];
  const ends = new Map<string, number>();
  const entities = new Map<string, { balance: number; changes: number; revision: number; last: string }>();
  const events: { entity: string; seq: number; commandId: string }[] = [];
  const queue: { id: string; to: string; amount: number }[] = [];

  function put(topic: string, key: string, more: Partial<SeenRecord>, partition = partitionFor(Buffer.from(key), 4)) {
    const at = `${topic}/${partition}`;
    const offset = ends.get(at) ?? 0;
    ends.set(at, offset + 1);
    const record: SeenRecord = {
      topic,
      partition,
      offset: BigInt(offset),
      key,
      id: '',
      type: '',
      n: -1,
      code: '',
      from: '',
      value: '',
      at: seen.length,
      ...more,
    };
    seen.push(record);
    return record;
  }

  function change(entity: string, id: string, amount: number, times: number): void {
    const held = entities.get(entity) ?? { balance: 0, changes: 0, revision: 0, last: '' };
    const isWallet = /^(wallet|purse)-/.test(entity);
    for (let i = 1; i <= times; i++) {
      held.balance += amount;
      held.changes++;
      if (isWallet) {
        put(TOPICS.events, entity, { id: `${id}/state`, value: text(held) });
        held.revision++;
        held.last = id;
      } else {
        put(TOPICS.events, entity, { id: `${id}/event-${i}`, value: JSON.stringify({ amount }) });
        events.push({ entity, seq: held.changes, commandId: id });
      }
    }
    entities.set(entity, held);
  }
  const answer = (entity: string, id: string) =>
    put(TOPICS.replies, entity, {
      id: `${id}/reply`,
      value: text(entities.get(entity) ?? { balance: 0, changes: 0 }),
    });

  function carryOut(command: Command, id: string, place: string): void {
    const { method, id: entity, amount = 0, times = 1, to = [], trouble } = command;
    if ((POISONS as readonly string[]).includes(trouble ?? '')) {
      put(TOPICS.deadLetters, entity, { code: 'FUNCTION_FAILED', from: place });
      return;
    }
    const targets = [to].flat();
    if (method === 'Add' || method === 'Put') change(entity, id, amount, method === 'Add' ? times : 1);
    else if (method === 'Spread') change(entity, id, -amount * targets.length, 1);
    else if (method !== 'Look' && method !== 'Peek') change(entity, id, -amount, 1);
    targets.forEach((target, i) => {
      queue.push({ id: `${id}#${i + 1}`, to: target, amount });
      put(TOPICS.commands, target, { id: `${id}#${i + 1}` });
    });
    if (method !== 'Send' && method !== 'Pay') answer(entity, id);
  }

  function finish(): void {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      change(next.to, next.id, next.amount, 1);
      answer(next.to, next.id);
    }
  }

  /** Of every so many commands one is followed by a call at a door. It begins after what is there, and ends before what follows. */
  const CALL_IN = 3;
  const calls: DoorCall[] = [];
  const callers = createRandom(options.seed + 1);
  function callDoor(): void {
    const command = randomCall(callers);
    const n = calls.length;
    const common = { n, command, keyed: n % 2 === 0, invokedAt: seen.length - 0.4, attempts: ['0: OK'] };
    const partition = partitionFor(Buffer.from(command.id), 4);
    const id = `${TOPICS.commands}/${partition}/${ends.get(`${TOPICS.commands}/${partition}`) ?? 0}`;
    put(TOPICS.commands, command.id, { id, n, value: 'a command' }, partition);
    if ((POISONS as readonly string[]).includes(command.trouble ?? '')) {
      calls.push({ ...common, outcome: 'failed' });
      return;
    }
    carryOut(command, id, id);
    const forwards = command.method === 'Send' || command.method === 'Pay';
    const told = (entity: string) => ({ balance: 0, changes: 0, ...entities.get(entity) });
    const own = told(command.id);
    finish();
    const { balance, changes } = forwards ? told(String(command.to)) : own;
    calls.push({ ...common, outcome: 'answered', answeredAt: seen.length - 0.7, answer: { balance, changes } });
  }

  const sent = Array.from({ length: options.commands }, (_, n) => {
    const command = randomCommand(random);
    const { headers, value } = commandMessage(command, n);
    // Some go to a partition that is not their entity's.
    const partition = random.int(10) === 0 ? random.int(4) : partitionFor(Buffer.from(command.id), 4);
    const record = put(
      TOPICS.input,
      command.id,
      { n, value: String(value), type: String(headers?.ce_type) },
      partition,
    );
    const id = `orders/${record.partition}/${record.offset}`;
    let place = id;
    if (partitionFor(Buffer.from(command.id), 4) !== partition) {
      const moved = put(TOPICS.commands, command.id, { id });
      place = `${moved.topic}/${moved.partition}/${moved.offset}`;
    }
    carryOut(command, id, place);
    finish();
    if (n % CALL_IN === 0) callDoor();
    return {
      n,
      outcome: 'acknowledged' as const,
      partition: record.partition,
      offset: record.offset,
      at: record.at - 0.5,
    };
  });

  const shards = Array.from({ length: 4 }, (_, shard) => ({
    shard,
    owners: [],
    applied: Object.fromEntries(
      [TOPICS.input, TOPICS.commands].map((topic) => [topic, String(ends.get(`${topic}/${shard}`) ?? 0)]),
    ),
    shardSeq: 0,
    events: 0,
    firstSeq: 0,
    lastSeq: 0,
  }));
  return {
    topics: TOPICS,
    sent,
    calls,
    seen,
    cuts: [20, 100, seen.length].map((upTo) => ({
      upTo,
      ends: Object.fromEntries([...ends].map(([at, end]) => [at, BigInt(end)])),
    })),
    final: [...seen],
    journal: {
      events,
      values: [...entities]
        .filter(([, { revision }]) => revision > 0)
        .map(([entity, { revision, last }]) => ({ entity, revision, commandId: last })),
      shards,
      unemitted: 0,
    },
    committed: Object.fromEntries(
      [TOPICS.input, TOPICS.commands].map((topic) => [
        topic,
        Object.fromEntries(shards.map(({ shard, applied }) => [String(shard), applied[topic] ?? '0'])),
      ]),
    ),
    excusable: [],
  };
}

function text({ balance, changes }: { balance: number; changes: number }): string {
  return JSON.stringify({ balance, changes });
}
