import type { Kafka } from 'kafkajs';
import type { InputRecord } from '../model/record.ts';
import { Fetcher } from './fetcher.ts';

const FETCH_BYTES = 1024 * 1024;

/** Reads one partition from its present end on, read_committed, for this process alone. */
export interface Tail {
  /** Resolves when everything that is written from now on will come, once it is committed. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** `onRecord` gets each record once, in order, aborted ones left out. `onCrash`: nothing more comes. */
export function createTail(options: {
  readonly kafka: Kafka;
  readonly topic: string;
  readonly partition: number;
  readonly maxWaitMs: number;
  readonly onRecord: (record: InputRecord) => void;
  /** Retention, or somebody, has removed records before they came. */
  readonly onRemoved: (offsets: bigint) => void;
  readonly onCrash: (error: Error) => void;
}): Tail {
  const { kafka, topic, partition, onRecord, onRemoved } = options;
  const fetcher = new Fetcher({
    kafka,
    topics: [topic],
    maxWaitMs: options.maxWaitMs,
    maxBytesPartition: FETCH_BYTES,
    onRecords({ records }) {
      for (const record of records) onRecord(record);
    },
    onRemoved: ({ from, to }) => onRemoved(to - from),
    onCrash: options.onCrash,
  });
  return {
    async start() {
      await fetcher.start();
      fetcher.seek(topic, partition, await fetcher.end(topic, partition));
      fetcher.want(topic, partition, true);
    },
    stop: () => fetcher.stop(),
  };
}
