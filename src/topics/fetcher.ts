import { setTimeout as delay } from 'node:timers/promises';
import kafkajs, { type Kafka, type KafkaMessage } from 'kafkajs';
import { type Cluster, clusterOf } from './cluster.ts';
import { EARLIEST, type FetchBroker, LATEST, READ_COMMITTED, READ_UNCOMMITTED } from './fetch-api.ts';
import { toInputRecord } from './input-record.ts';
import type { RecordBatch } from './read-ahead.ts';

const { KafkaJSOffsetOutOfRange } = kafkajs;

/** Of all partitions in one answer; Kafka's default of `fetch.max.bytes` is five times this. */
const MAX_BYTES = 10 * 1024 * 1024;
/** Failures of one broker in a row before the fetcher gives up, and the pauses between them. */
const RETRIES = 8;
const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 2_000;

export interface FetcherOptions {
  readonly kafka: Kafka;
  /** All of them must be there. */
  readonly topics: readonly string[];
  /** How long a broker holds a fetch open when it has nothing new. */
  readonly maxWaitMs: number;
  readonly maxBytesPartition: number;
  /** Committed records of one partition, in order. Must return at once. */
  readonly onRecords: (batch: RecordBatch) => void;
  /** Retention, or somebody, has removed records before they were fetched: it goes on with the oldest one that is left. */
  readonly onRemoved: (removed: { topic: string; partition: number; from: bigint; to: bigint }) => void;
  /** Brokers failed too often, or as no repetition mends; nothing more is fetched. */
  readonly onCrash: (error: Error) => void;
}

/** Where a partition of a topic is read. */
interface Place {
  readonly topic: string;
  readonly partition: number;
  next: bigint;
  wanted: boolean;
}

/** What kafkajs has decoded of one partition; aborted records are marked as control records (aborted-records.ts). */
interface FetchedPartition {
  readonly partition: number;
  readonly highWatermark: string;
  readonly messages: readonly (KafkaMessage & { readonly isControlRecord: boolean })[];
}

type Broker = FetchBroker<FetchedPartition>;

/**
 * Reads partitions as a read_committed consumer does, over connections of its own and apart from any consumer group: a
 * rebalance does not touch what goes on being read. One request is under way at each broker, for all of the wanted
 * partitions that it leads.
 */
export class Fetcher {
  readonly #options: FetcherOptions;
  readonly #cluster: Cluster<Broker>;
  readonly #places = new Map<string, Place>();
  /** Leader by `keyOf`, as of the last look at the metadata. */
  readonly #leaders = new Map<string, string>();
  /** Brokers that are being asked. */
  readonly #asking = new Set<string>();
  readonly #ended = new AbortController();

  constructor(options: FetcherOptions) {
    this.#options = options;
    this.#cluster = clusterOf<Broker>(options.kafka);
  }

  /** Connects. Rejects where no broker answers, or a topic is not there, or it is stopped meanwhile. */
  async start(): Promise<void> {
    try {
      await this.#cluster.connect();
      await this.#cluster.addMultipleTargetTopics(this.#options.topics);
    } finally {
      await this.#closeIfEnded();
    }
    this.#ended.signal.throwIfAborted();
    this.#learnLeaders();
    this.#askAll();
  }

  /** One past the newest record of a partition, of an open transaction too. */
  async end(topic: string, partition: number): Promise<bigint> {
    const leader = this.#leaders.get(keyOf(topic, partition));
    const end = leader === undefined ? undefined : await this.#offset(leader, topic, partition, LATEST);
    if (end === undefined) throw new Error(`the brokers do not say where partition ${partition} of "${topic}" ends`);
    return end;
  }

  /** The partition is read from `offset` on, once it is wanted. Nothing comes any more of what was fetched before. */
  seek(topic: string, partition: number, offset: bigint): void {
    const key = keyOf(topic, partition);
    // A new object: an answer on the way is told by it.
    this.#places.set(key, { topic, partition, next: offset, wanted: this.#places.get(key)?.wanted ?? false });
    this.#ask(key);
  }

  /** Whether records of the partition are to be fetched. At first none are. */
  want(topic: string, partition: number, wanted: boolean): void {
    const key = keyOf(topic, partition);
    const place = this.#places.get(key);
    if (place === undefined) throw new Error(`partition ${partition} of "${topic}" has no position to be read from`);
    place.wanted = wanted;
    if (wanted) this.#ask(key);
  }

  /** The partition is read no more, and has no position until it is sought again. */
  forget(topic: string, partition: number): void {
    this.#places.delete(keyOf(topic, partition));
  }

  /** Ends it and closes its connections. */
  async stop(): Promise<void> {
    this.#ended.abort();
    await this.#cluster.disconnect();
  }

  #learnLeaders(): void {
    for (const topic of this.#options.topics) {
      for (const { partitionId, leader } of this.#cluster.findTopicPartitionMetadata(topic)) {
        this.#leaders.set(keyOf(topic, partitionId), String(leader));
      }
    }
  }

  #askAll(): void {
    for (const key of this.#places.keys()) this.#ask(key);
  }

  #ask(key: string): void {
    const leader = this.#leaders.get(key);
    if (leader === undefined || this.#asking.has(leader) || this.#ended.signal.aborted) return;
    if (this.#places.get(key)?.wanted !== true) return;
    this.#asking.add(leader);
    // A turn of the event loop gathers all that is wanted: what the first request leaves out waits until it is answered.
    setImmediate(() => void this.#keepAsking(leader));
  }

  /** One fetch after the other, for as long as something of this broker is wanted. */
  async #keepAsking(leader: string): Promise<void> {
    const { signal } = this.#ended;
    let failures = 0;
    while (!signal.aborted) {
      const wanted = this.#wantedOf(leader);
      if (wanted.length === 0) break;
      try {
        await this.#fetch(leader, wanted);
        failures = 0;
      } catch (error) {
        if (signal.aborted) break;
        failures++;
        if (failures > RETRIES) {
          this.#crash(error as Error);
          break;
        }
        await this.#recover(leader, error as Error, failures);
      }
    }
    await this.#closeIfEnded();
    this.#asking.delete(leader);
    // Another broker may lead them now.
    this.#askAll();
  }

  #wantedOf(leader: string): Place[] {
    const wanted: Place[] = [];
    for (const [key, place] of this.#places) {
      if (place.wanted && this.#leaders.get(key) === leader) wanted.push(place);
    }
    return wanted;
  }

  async #fetch(leader: string, places: readonly Place[]): Promise<void> {
    const { maxWaitMs, maxBytesPartition } = this.#options;
    const topics = new Map<string, { partition: number; fetchOffset: string; maxBytes: number }[]>();
    for (const { topic, partition, next } of places) {
      const partitions = topics.get(topic) ?? [];
      if (partitions.length === 0) topics.set(topic, partitions);
      partitions.push({ partition, fetchOffset: next.toString(), maxBytes: maxBytesPartition });
    }
    const broker = await this.#cluster.findBroker({ nodeId: leader });
    const { responses } = await broker.fetch({
      isolationLevel: READ_COMMITTED,
      maxWaitTime: maxWaitMs,
      minBytes: 1,
      maxBytes: MAX_BYTES,
      topics: [...topics].map(([topic, partitions]) => ({ topic, partitions })),
    });
    const asked = new Set(places);
    for (const { topicName, partitions } of responses) {
      for (const fetched of partitions) {
        const place = this.#places.get(keyOf(topicName, fetched.partition));
        if (place?.wanted === true && asked.has(place)) this.#take(place, fetched);
      }
    }
  }

  #take(place: Place, { highWatermark, messages }: FetchedPartition): void {
    const last = messages.at(-1);
    if (last === undefined) return;
    const { topic, partition, next: from } = place;
    const records = [];
    for (const message of messages) {
      if (message.isControlRecord) continue;
      const record = toInputRecord(topic, partition, message);
      // A compressed batch comes whole, its records before the wanted one too.
      if (record.offset >= from) records.push(record);
    }
    const next = BigInt(last.offset) + 1n;
    if (next > from) place.next = next;
    if (records.length > 0)
      this.#options.onRecords({ topic, partition, highWatermark: BigInt(highWatermark), records });
  }

  async #recover(leader: string, error: Error, failures: number): Promise<void> {
    try {
      if (error instanceof KafkaJSOffsetOutOfRange) {
        await this.#toOldest(leader, error);
        return;
      }
      if (isConnectionClosed(error)) this.#cluster.removeBroker(error);
      else if (error.name === 'KafkaJSRequestTimeoutError') {
        // Whatever is asked next on this connection would wait behind what was not answered.
        await (await this.#cluster.findBroker({ nodeId: leader })).disconnect();
      }
      const pause = Math.min(RETRY_MIN_MS * 2 ** (failures - 1), RETRY_MAX_MS);
      await delay(pause, undefined, { signal: this.#ended.signal });
      await this.#cluster.refreshMetadata();
      this.#learnLeaders();
      this.#askAll();
    } catch {
      // The next fetch says what is wrong, if anything still is.
    }
  }

  async #toOldest(leader: string, { topic, partition }: { topic: string; partition: number }): Promise<void> {
    const place = this.#places.get(keyOf(topic, partition));
    const oldest = await this.#offset(leader, topic, partition, EARLIEST);
    if (place === undefined || oldest === undefined || this.#places.get(keyOf(topic, partition)) !== place) return;
    const from = place.next;
    place.next = oldest;
    this.#options.onRemoved({ topic, partition, from, to: oldest });
  }

  async #offset(leader: string, topic: string, partition: number, timestamp: string): Promise<bigint | undefined> {
    const broker = await this.#cluster.findBroker({ nodeId: leader });
    const { responses } = await broker.listOffsets({
      isolationLevel: READ_UNCOMMITTED,
      topics: [{ topic, partitions: [{ partition, timestamp }] }],
    });
    const offset = responses[0]?.partitions[0]?.offset;
    return offset === undefined ? undefined : BigInt(offset);
  }

  /** What was about to connect when it was ended, connects all the same: kafkajs tries for some ten seconds. */
  async #closeIfEnded(): Promise<void> {
    if (this.#ended.signal.aborted) await this.#cluster.disconnect().catch(() => undefined);
  }

  #crash(error: Error): void {
    if (this.#ended.signal.aborted) return;
    void this.stop().catch(() => undefined);
    this.#options.onCrash(error);
  }
}

/** Its type is missing in kafkajs' declarations. */
function isConnectionClosed(error: Error): error is Error & { readonly host: string; readonly port: number } {
  return error.name === 'KafkaJSConnectionClosedError';
}

function keyOf(topic: string, partition: number): string {
  return `${topic}\0${partition}`;
}
