import type { Kafka, Producer, Transaction } from 'kafkajs';
import type { EngineOptions } from '../../src/engine/engine.ts';
import type { OpeningSteps } from '../../src/engine/opening.ts';
import { createTransactor } from '../../src/topics/transactor.ts';

/** The arrows of the way of a record, in order: between any two of them a process may die. */
export const RUNNING_POINTS = [
  // A record came from Kafka; it was decoded and routed.
  'arrived',
  'decoded',
  // Its entity is read from the journal.
  'loading',
  'loaded',
  // The function answered; the answer is turned into what it does.
  'answered',
  'decided',
  // The chunk's Postgres transaction: before it, while it is on its way, after its answer.
  'journaling',
  'journal-sent',
  'journaled',
  // The Kafka transaction: before it, begun, offsets sent, records sent, EndTxn on its way, committed.
  'emitting',
  'begun',
  'offsets',
  'sent',
  'commit-sent',
  'committed',
] as const;

/** The steps of taking a transactional id and of opening shards, in order. */
export const OPENING_POINTS = [
  'taking-id',
  'took-id',
  'opening',
  'opened',
  'fencing',
  'fenced-one',
  'fenced',
  'offsets-read',
  'settling',
  'settled',
  'outbox-read',
  'feeds-settling',
  'feeds-settled',
] as const;

/** While a feed that is behind reads the journal. */
export const FEEDING_POINTS = ['feed-reading', 'feed-read'] as const;

/** Before and after the journal forgets the owner of a shard. */
export const RELEASING_POINTS = ['releasing', 'released'] as const;

export type Point =
  | (typeof RUNNING_POINTS)[number]
  | (typeof OPENING_POINTS)[number]
  | (typeof FEEDING_POINTS)[number]
  | (typeof RELEASING_POINTS)[number];

/**
 * The engine's own parts with a call of `reach` at every point. `reach` may end or stop the process, so it is called
 * with nothing between it and the step that it names.
 */
export function withPoints(
  parts: EngineOptions,
  reach: (point: Point) => void,
  kafka: {
    readonly connect: (onConnectionLost: () => void) => Kafka;
    readonly groupId: string;
    readonly transactionTimeoutMs: number;
  },
): EngineOptions {
  const around = async <T>(before: Point, step: () => Promise<T>, after: Point): Promise<T> => {
    reach(before);
    const result = await step();
    reach(after);
    return result;
  };
  const { store, decide } = parts.entities;
  const { store: feeds } = parts.feeds;
  return {
    ...parts,
    feeds: {
      ...parts.feeds,
      store: {
        settle: (opened) =>
          opened.length === 0
            ? feeds.settle(opened)
            : around('feeds-settling', () => feeds.settle(opened), 'feeds-settled'),
        events: (wanted) => around('feed-reading', () => feeds.events(wanted), 'feed-read'),
        values: (wanted) => around('feed-reading', () => feeds.values(wanted), 'feed-read'),
      },
    },
    intake(record) {
      reach('arrived');
      const arrival = parts.intake(record);
      reach('decoded');
      return arrival;
    },
    entities: {
      ...parts.entities,
      store: {
        heads: (keys) => around('loading', () => store.heads(keys), 'loaded'),
        tails: (wanted) => store.tails(wanted),
        values: (keys) => around('loading', () => store.values(keys), 'loaded'),
      },
      decide(command, position, effect) {
        reach('answered');
        const decision = decide(command, position, effect);
        reach('decided');
        return decision;
      },
    },
    append: (chunks) =>
      around('journaling', () => onItsWay(parts.append(chunks), () => reach('journal-sent')), 'journaled'),
    opening: (transactionalId) => openingWithPoints(parts.opening(transactionalId), reach),
    release: (transactionalId, shard) => around('releasing', () => parts.release(transactionalId, shard), 'released'),
    createTransactor(transactionalId, onLost) {
      // Taking the id is a transaction of its own, which is not part of a record's way.
      let emitting = false;
      const transactor = createTransactor({
        ...kafka,
        topics: [parts.commandTopic.name, parts.answerTopic, parts.deadLetterTopic.name],
        onLost,
        connect: (onConnectionLost) =>
          clientWithPoints(kafka.connect(onConnectionLost), (point) => {
            if (emitting) reach(point);
          }),
        transactionalId,
      });
      return {
        ...transactor,
        open: () => around('taking-id', () => transactor.open(), 'took-id'),
        commit(emission) {
          emitting = true;
          reach('emitting');
          return transactor.commit(emission);
        },
      };
    },
  };
}

function openingWithPoints(steps: OpeningSteps, reach: (point: Point) => void): OpeningSteps {
  const then = async <T>(step: Promise<T>, after: Point): Promise<T> => {
    const result = await step;
    reach(after);
    return result;
  };
  return {
    ...steps,
    open(shards) {
      reach('opening');
      return then(steps.open(shards), 'opened');
    },
    async fence(ids) {
      reach('fencing');
      for (const id of ids) await then(steps.fence([id]), 'fenced-one');
      reach('fenced');
    },
    // A rehearsal asks about no shard.
    committed: (topics, shards, stable) =>
      shards.length === 0
        ? steps.committed(topics, shards, stable)
        : then(steps.committed(topics, shards, stable), 'offsets-read'),
    settle(shards) {
      reach('settling');
      return then(steps.settle(shards), 'settled');
    },
    outbox: (shard, after) => then(steps.outbox(shard, after), 'outbox-read'),
  };
}

/** A client whose producers' transactions have the points of a Kafka transaction. */
function clientWithPoints(client: Kafka, reach: (point: Point) => void): Kafka {
  const transactionOf = (transaction: Transaction): Transaction => ({
    ...transaction,
    async sendBatch(batch) {
      const sent = await transaction.sendBatch(batch);
      reach('sent');
      return sent;
    },
    async sendOffsets(offsets) {
      await transaction.sendOffsets(offsets);
      reach('offsets');
    },
    async commit() {
      await onItsWay(transaction.commit(), () => reach('commit-sent'));
      reach('committed');
    },
  });
  const producerOf = (producer: Producer): Producer => ({
    ...producer,
    async transaction() {
      const transaction = await producer.transaction();
      reach('begun');
      return transactionOf(transaction);
    },
  });
  return new Proxy(client, {
    get(target, name, receiver) {
      if (name !== 'producer') return Reflect.get(target, name, receiver);
      return (options: Parameters<Kafka['producer']>[0]) => producerOf(target.producer(options));
    },
  });
}

/** Calls `sent` in the turn of the event loop after the request was written, and resolves to its answer. */
async function onItsWay<T>(request: Promise<T>, sent: () => void): Promise<T> {
  // A failure is told by the await below; until then nobody listens.
  request.catch(() => undefined);
  await new Promise(setImmediate);
  sent();
  return request;
}
