import type { Admin, Kafka } from 'kafkajs';
import { decodeOutbox } from './codec/outbox.ts';
import type { EngineOptions } from './engine/engine.ts';
import type { HangingSteps } from './engine/hanging.ts';
import type { DatedRow } from './journal/in-doubt.ts';
import type { Log } from './observe/log.ts';
import { partitionCounts } from './topics/ensure.ts';
import { endProducer } from './topics/open-transactions.ts';
import { isSomeVisible } from './topics/visible-outputs.ts';

/** What is seen of the outputs of transactions that hang, and how these are ended. */
export function hangingOutputs(at: {
  readonly kafka: Kafka;
  readonly admin: Admin;
  readonly groupId: string;
  /** All topics that outputs may be on by now. */
  readonly topics: readonly string[];
  readonly signals: Pick<EngineOptions['signals'], 'hangingEnded'>;
  readonly log: Log;
}): Pick<HangingSteps, 'isVisible' | 'end'> {
  const { kafka, admin, groupId, signals, log } = at;
  const outputsOf = (rows: readonly DatedRow[]) => rows.flatMap(({ records }) => decodeOutbox(records));
  return {
    async isVisible(producerId, rows) {
      const outputs = outputsOf(rows);
      const counts = await partitionCounts(
        admin,
        outputs.map(({ topic }) => topic),
      );
      return isSomeVisible(kafka, {
        producerId,
        outputs: outputs.filter(({ topic }) => counts.has(topic)),
        after: Math.min(...rows.map((row) => row.at)),
      });
    },
    async end({ transactionalId, producerId }, ending, rows) {
      const topics = [...at.topics, ...outputsOf(rows).map(({ topic }) => topic)];
      // Those of no chunk that is known, too: a marker goes only where the producer has something open.
      const counts = await partitionCounts(admin, topics);
      const partitions = new Map([...counts].map(([topic, count]) => [topic, Array(count).keys()] as const));
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
