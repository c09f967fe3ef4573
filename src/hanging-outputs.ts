import type { Admin, Kafka } from 'kafkajs';
import { decodeOutbox, encodeOutbox } from './codec/outbox.ts';
import type { EngineOptions } from './engine/engine.ts';
import type { HangingSteps } from './engine/hanging.ts';
import type { OpeningSteps } from './engine/opening.ts';
import { isOwnerId } from './engine/owner-ids.ts';
import type { OutboxRow } from './journal/outbox.ts';
import type { OutputRecord } from './model/record.ts';
import type { Log } from './observe/log.ts';
import { partitionCounts } from './topics/ensure.ts';
import { isUnauthorized } from './topics/flexible.ts';
import {
  type AbandoningProducer,
  abandonedOf,
  endProducer,
  openOffsetTransactions,
  openTransactions,
} from './topics/open-transactions.ts';
import { isSomeOpen, isSomeVisible, seenOutputs } from './topics/visible-outputs.ts';

/** What transactions that hang have open, what is seen of their outputs, and how they are ended. */
export function hangingOutputs(at: {
  readonly kafka: Kafka;
  readonly admin: Admin;
  readonly deployment: string;
  readonly groupId: string;
  /** All topics that outputs may be on by now. */
  readonly topics: readonly string[];
  readonly signals: Pick<EngineOptions['signals'], 'hangingEnded'>;
  readonly log: Log;
}): Pick<HangingSteps, 'abandoned' | 'abandonedOutputs' | 'isVisible' | 'isOpen' | 'end'> &
  Pick<OpeningSteps, 'unseen'> {
  const { kafka, admin, deployment, groupId, signals, log } = at;
  let isToldOf = false;
  const outputsOf = (rows: readonly OutboxRow[]) => rows.flatMap(({ records }) => decodeOutbox(records));
  const ours = (found: readonly AbandoningProducer[]) =>
    found.filter(({ transactionalId }) => isOwnerId(deployment, transactionalId));
  const partitionsOf = async (topics: readonly string[]) => {
    const counts = await partitionCounts(admin, topics);
    return new Map([...counts].map(([topic, count]) => [topic, [...Array(count).keys()]] as const));
  };
  const existing = async (outputs: readonly OutputRecord[]) => {
    const counts = await partitionCounts(
      admin,
      outputs.map(({ topic }) => topic),
    );
    return outputs.filter(({ topic }) => counts.has(topic));
  };
  return {
    abandoned: async () => ours(await abandonedOf(kafka, () => openOffsetTransactions(kafka, groupId))),
    async abandonedOutputs() {
      const partitions = await partitionsOf(at.topics);
      try {
        return ours(await abandonedOf(kafka, () => openTransactions(kafka, partitions)));
      } catch (error) {
        if (!isUnauthorized(error)) throw error;
        if (!isToldOf)
          log.info({ error: error.message }, 'May not look for transactions that hang on the output topics');
        isToldOf = true;
        return [];
      }
    },
    async isVisible(producerId, rows) {
      const outputs = await existing(outputsOf(rows));
      return isSomeVisible(kafka, { producerId, outputs, after: Math.min(...rows.map((row) => row.at)) });
    },
    async unseen(rows) {
      const decoded = rows.map((row) => ({ row, outputs: decodeOutbox(row.records) }));
      const outputs = await existing(decoded.flatMap((one) => one.outputs));
      const seen = await seenOutputs(kafka, { outputs, after: Math.min(...rows.map((row) => row.at)) });
      return decoded.map((one) => ({
        ...one.row,
        records: encodeOutbox(one.outputs.filter((output) => !seen.has(output))),
      }));
    },
    async isOpen(producerId, rows) {
      const open = await openTransactions(kafka, await partitionsOf(at.topics));
      return isSomeOpen(kafka, {
        open: open.filter((one) => one.producerId === producerId),
        outputs: await existing(outputsOf(rows)),
      });
    },
    async end({ transactionalId, producerId }, ending, rows) {
      // Those of no chunk that is known, too: a marker goes only where the producer has something open.
      const partitions = await partitionsOf([...at.topics, ...outputsOf(rows).map(({ topic }) => topic)]);
      const ended = await endProducer(kafka, producerId, { partitions, groupId }, ending);
      if (ended.length === 0) return;
      log.warn(
        { transactionalId, ending, partitions: ended.map(({ topic, partition }) => `${topic}-${partition}`) },
        'Ended a transaction that Kafka had left without its markers',
      );
      signals.hangingEnded(ending);
    },
  };
}
