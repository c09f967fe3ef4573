import { setTimeout as delay } from 'node:timers/promises';
import kafkajs, { type IHeaders, type Kafka, type Message, type Producer, type Transaction } from 'kafkajs';
import { asBuffer } from '../bytes.ts';
import type { OutputRecord, Positions } from '../model/record.ts';
import { checkAcknowledged } from './acknowledged.ts';
import { type Compression, codecOf } from './codecs.ts';
import { DEFAULT_MESSAGE_BYTES } from './limits.ts';
import { BATCH_BYTES, recordBytes } from './record-bytes.ts';

const { KafkaJSProtocolError, Partitioners } = kafkajs;

/**
 * Records of one partition that go into one produce request at most. kafkajs copies its list for every message, which
 * is quadratic: at 400 this was a third of all that the engine allocated. A request more costs a millisecond or so.
 */
const SLICE_RECORDS = 128;
/** How long, and at what pace, the markers of the transaction before are waited for, in ms. */
const CONCURRENT_WAIT_MS = 5_000;
const CONCURRENT_PAUSE_MAX_MS = 20;
/** Bytes of one produce request at most, except that a larger record goes alone. */
const SLICE_BYTES = 512 * 1024;

/** What one transaction carries: records, and for each shard the positions that the group has applied with them. */
export interface Emission {
  readonly outputs: readonly OutputRecord[];
  readonly offsets: ReadonlyMap<number, Positions>;
}

export interface Transactor {
  readonly transactionalId: string;
  /** InitProducerId: whatever this id had open before is ended. */
  open(): Promise<void>;
  /**
   * Commits one transaction: outputs, in order per partition, and the group's offsets. After any error the outcome is
   * unknown, and this transactor must be closed and never used again (kafkajs cannot leave its COMMITTING state, and a
   * new producer under the same id would undo a successor's fence).
   */
  commit(emission: Emission): Promise<void>;
  close(): Promise<void>;
}

export function createTransactor(options: {
  /** A client whose connections nobody else uses, and which tells when it loses one of them. */
  connect: (onConnectionLost: () => void) => Kafka;
  transactionalId: string;
  groupId: string;
  /** Topics that it is going to write to, for which shards are not to wait while it learns who leads them. */
  topics?: readonly string[];
  transactionTimeoutMs: number;
  /** The largest batch that a topic takes, in bytes; absent: Kafka's default. A larger record is sent, and refused. */
  messageBytes?: (topic: string) => number;
  /** Absent: none. The codecs must be registered (codecs.ts). */
  compression?: Compression;
  /**
   * A connection to a broker is lost: this transactor must be closed and never used again, even if every commit was
   * answered. A broker that dies between the answer and the markers may lose these; what the producer wrote next would then go
   * into the transaction before, and end with it (docs/architecture.md, "Transactions that hang").
   */
  onLost?: (error: Error) => void;
}): Transactor {
  const { messageBytes = () => DEFAULT_MESSAGE_BYTES } = options;
  const compression = codecOf(options.compression ?? 'none');
  let lost: Error | undefined;
  let closed = false;
  const kafka = options.connect(() => {
    if (closed || lost !== undefined) return;
    lost = new Error('a connection to a broker was lost: it may have lost the end of the transaction before');
    options.onLost?.(lost);
  });
  const producer: Producer = kafka.producer({
    transactionalId: options.transactionalId,
    maxInFlightRequests: 1,
    // Every record names its partition.
    createPartitioner: Partitioners.DefaultPartitioner,
    transactionTimeout: options.transactionTimeoutMs,
    allowAutoTopicCreation: false,
    // kafkajs asks the leaders of one send at once. When one of them refuses, it sends everything again that it has no
    // answer to, what is still on its way to the others too, and under new sequence numbers: those records would be in
    // the transaction twice. So nothing is sent twice; a transaction in which a send failed is given up.
    retry: { retries: 0 },
  });
  let inFlight: Promise<unknown> = Promise.resolve();

  /** A transaction of nothing: where topics and group are led, and the connections, are not for the first real one to find. */
  async function rehearse(transaction: Transaction, topics: readonly string[]): Promise<void> {
    await transaction.sendBatch({ acks: -1, topicMessages: topics.map((topic) => ({ topic, messages: [] })) });
    await sendOffsets(transaction, { consumerGroupId: options.groupId, topics: [] });
  }

  async function commit({ outputs, offsets }: Emission): Promise<void> {
    if (lost !== undefined) throw lost;
    const transaction = await producer.transaction();
    // First, because it is what waits for the markers of the transaction before.
    await sendOffsets(transaction, { consumerGroupId: options.groupId, topics: groupOffsets(offsets) });
    for (const slice of slices(outputs, messageBytes)) {
      checkAcknowledged(slice, await transaction.sendBatch({ acks: -1, compression, topicMessages: slice }));
    }
    await transaction.commit();
  }

  return {
    transactionalId: options.transactionalId,
    async open() {
      await producer.connect();
      const transaction = await producer.transaction();
      if (options.topics !== undefined) await rehearse(transaction, options.topics);
      await transaction.abort();
    },
    commit(emission) {
      const done = commit(emission);
      inFlight = done.catch(() => undefined);
      return done;
    },
    async close() {
      closed = true;
      await producer.disconnect();
      // kafkajs asks again for what was in flight, and connects for that: nobody else would close that connection.
      void inFlight.then(() => producer.disconnect());
    },
  };
}

/**
 * EndTxn is answered before the markers are written, so the first request of the next transaction is refused for a few ms
 * (CONCURRENT_TRANSACTIONS), and kafkajs does not ask again. The refusal is definite: nothing was done, so asking again
 * is safe, unlike after any other error.
 */
async function sendOffsets(
  transaction: Transaction,
  offsets: Parameters<Transaction['sendOffsets']>[0],
): Promise<void> {
  for (let pause = 1, waited = 0; ; waited += pause, pause = Math.min(pause * 2, CONCURRENT_PAUSE_MAX_MS)) {
    try {
      await transaction.sendOffsets(offsets);
      return;
    } catch (error) {
      const isConcurrent = error instanceof KafkaJSProtocolError && error.type === 'CONCURRENT_TRANSACTIONS';
      if (!isConcurrent || waited > CONCURRENT_WAIT_MS) throw error;
    }
    await delay(pause);
  }
}

function* slices(
  outputs: readonly OutputRecord[],
  messageBytes: (topic: string) => number,
): Generator<{ topic: string; messages: Message[] }[]> {
  let batch = new Map<string, Message[]>();
  // What each partition gets is one batch to the broker.
  let perPartition = new Map<string, Map<number, { count: number; bytes: number }>>();
  let bytes = 0;
  for (const output of outputs) {
    const size = recordBytes(output);
    const before = perPartition.get(output.topic)?.get(output.partition);
    if (
      (bytes > 0 && bytes + size > SLICE_BYTES) ||
      (before !== undefined && (before.count >= SLICE_RECORDS || before.bytes + size > messageBytes(output.topic)))
    ) {
      yield asTopicMessages(batch);
      batch = new Map();
      perPartition = new Map();
      bytes = 0;
    }
    let messages = batch.get(output.topic);
    if (messages === undefined) {
      messages = [];
      batch.set(output.topic, messages);
    }
    messages.push(toMessage(output));
    let into = perPartition.get(output.topic);
    if (into === undefined) {
      into = new Map();
      perPartition.set(output.topic, into);
    }
    const held = into.get(output.partition);
    if (held === undefined) into.set(output.partition, { count: 1, bytes: BATCH_BYTES + size });
    else {
      held.count++;
      held.bytes += size;
    }
    bytes += size;
  }
  if (batch.size > 0) yield asTopicMessages(batch);
}

function asTopicMessages(batch: ReadonlyMap<string, Message[]>): { topic: string; messages: Message[] }[] {
  return [...batch].map(([topic, messages]) => ({ topic, messages }));
}

function toMessage(output: OutputRecord): Message {
  const headers: IHeaders = {};
  for (const [name, value] of output.headers) {
    const held = typeof value === 'string' ? value : asBuffer(value);
    const before = headers[name];
    headers[name] = before === undefined ? held : Array.isArray(before) ? [...before, held] : [before, held];
  }
  return {
    key: output.key === null ? null : asBuffer(output.key),
    value: output.value === null ? null : asBuffer(output.value),
    partition: output.partition,
    headers,
  };
}

function groupOffsets(offsets: ReadonlyMap<number, Positions>) {
  const topics = new Map<string, { partition: number; offset: string }[]>();
  for (const [partition, positions] of offsets) {
    for (const [topic, offset] of Object.entries(positions)) {
      let partitions = topics.get(topic);
      if (partitions === undefined) {
        partitions = [];
        topics.set(topic, partitions);
      }
      partitions.push({ partition, offset: offset.toString() });
    }
  }
  return [...topics].map(([topic, partitions]) => ({ topic, partitions }));
}
