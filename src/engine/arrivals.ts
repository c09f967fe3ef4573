import type { Logger } from 'pino';
import { messageOf, StateferryError } from '../errors.ts';
import type { InputRecord } from '../model/record.ts';
import type { Signals } from '../observe/signals.ts';
import type { RecordBatch } from '../topics/read-ahead.ts';
import type { Entities } from './entities.ts';
import type { Gate } from './gate.ts';
import { type Arrival, originOf } from './intake.ts';
import { createItem, publishing } from './item.ts';
import { entityOf, type Poison } from './poison.ts';
import type { Shard } from './shard.ts';

export interface ArrivalsOptions {
  readonly commandTopic: string;
  readonly intake: (record: InputRecord) => Arrival;
  /** `EngineOptions.awaits`. */
  readonly awaits: ((record: InputRecord) => Promise<void> | undefined) | undefined;
  /** The open shard of this number. */
  readonly shard: (number: number) => Shard | undefined;
  readonly gate: Pick<Gate, 'regulate' | 'standUntil'>;
  readonly entities: Pick<Entities, 'dispatch' | 'renew'>;
  readonly poison: Pick<Poison, 'park' | 'unreadable'>;
  /** A shard has something to journal. */
  readonly onReady: () => void;
  /** A topic may be another one than it was, which opening its shards tells for certain. */
  readonly onDoubt: (doubt: string) => void;
  /** A topic is another one than it was: nothing can go on. */
  readonly onFailed: (error: StateferryError) => void;
  readonly signals: Pick<Signals, 'recordsIn' | 'skipped' | 'strays'>;
  readonly log: Logger;
}

/** Takes in what the consumer brings: each record once, in order, into the window of its shard and on to its entity. */
export interface Arrivals {
  arrived(batch: RecordBatch): void;
}

export function createArrivals(options: ArrivalsOptions): Arrivals {
  const { commandTopic, intake, awaits, gate, entities, poison, signals, log } = options;

  /** A fault of ours in reading one record must not stop its shard for ever: it is a dead letter like any other. */
  function arrivalOf(record: InputRecord): Arrival {
    try {
      return intake(record);
    } catch (cause) {
      const error = new StateferryError('RECORD_UNDECODABLE', `the record could not be read: ${messageOf(cause)}`, {
        cause,
      });
      log.error({ topic: record.topic, partition: record.partition, err: cause }, 'Reading a record failed');
      const from = originOf(record, commandTopic);
      return { kind: 'reject', error, ...(from && { from }) };
    }
  }

  function accept(shard: Shard, record: InputRecord): void {
    const arrival = arrivalOf(record);
    const command = arrival.kind === 'command' ? arrival.command : undefined;
    const item = createItem(shard, record, command, undefined, arrival.from);
    shard.add(item);
    shard.control.comesBack(item);
    switch (arrival.kind) {
      case 'command': {
        const { stream } = arrival.command;
        if (stream === 'renew') {
          item.decision = publishing(entities.renew(arrival.command));
          return;
        }
        const key = entityOf(arrival.command);
        // Not even a paused entity lets its function stream to one who has gone.
        if (stream === undefined && key !== undefined && shard.control.arrives(item, key) === 'park') {
          item.decision = poison.park(shard, item, key);
        } else entities.dispatch(item, arrival.command);
        return;
      }
      case 'stray':
        signals.strays(1);
        item.decision = publishing(arrival.outputs);
        return;
      case 'reject':
        poison.unreadable(shard, item, arrival);
        return;
      case 'ignore':
        item.decision = publishing([]);
        return;
    }
  }

  return {
    arrived({ topic, partition, records, highWatermark }) {
      const shard = options.shard(partition);
      if (shard === undefined || shard.state !== 'running') return;
      shard.end.set(topic, highWatermark);
      // It is fetched again when the gate opens, or what it waits for is there (gate.ts).
      if (shard.awaits > 0 || (shard.gated && topic !== commandTopic)) return;
      let expected = shard.next.get(topic) ?? 0n;
      const first = records[0];
      if (first !== undefined && first.offset < expected && highWatermark < expected) {
        // A partition does not become shorter, unless its topic is another one now.
        options.onDoubt(
          `partition ${partition} of "${topic}" ends at ${highWatermark}, and has been read up to ${expected}`,
        );
        return;
      }
      const newest = shard.newest.get(topic);
      let skipped = 0;
      let taken = 0;
      for (const record of records) {
        // Applied already, or in the window: the consumer was sent back to the committed offset by a rebalance.
        if (record.offset < expected) {
          if (record.offset === newest?.offset && record.timestamp !== newest.timestamp) {
            options.onFailed(recreated(record));
            return;
          }
          skipped++;
          continue;
        }
        const waiting = awaits?.(record);
        if (waiting !== undefined) {
          gate.standUntil(shard, waiting);
          break;
        }
        expected = record.offset + 1n;
        taken++;
        accept(shard, record);
      }
      const last = records.at(-1);
      if (last !== undefined && last.offset + 1n === expected) {
        shard.newest.set(topic, { offset: last.offset, timestamp: last.timestamp });
      }
      signals.recordsIn(topic, taken);
      if (skipped > 0) signals.skipped(skipped);
      if (shard.isReady()) options.onReady();
      gate.regulate(shard);
    },
  };
}

function recreated({ topic, partition, offset }: InputRecord): StateferryError {
  return new StateferryError(
    'TOPIC_RECREATED',
    `offset ${offset} of "${topic}" partition ${partition} is another record than it was: the topic was deleted and made again. ` +
      'Start a new deployment in another schema.',
  );
}
