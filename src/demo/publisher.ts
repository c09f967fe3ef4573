import { setTimeout as delay } from 'node:timers/promises';
import type { Kafka, Message } from 'kafkajs';
import { partitionFor } from '../topics/partition.ts';
import type { Flight } from './flights.ts';

/** Flights of one request, at full speed. */
const BATCH = 500;
const HEADERS = { 'content-type': 'application/json' };

/** Publishes flights, keyed by the airport of departure, once each and in order. */
export interface Publisher {
  start(): Promise<void>;
  /** How many the broker has acknowledged so far. */
  published(): number;
  /** As fast as the broker takes them. */
  flood(flights: readonly Flight[], signal: AbortSignal): Promise<void>;
  /**
   * At an even pace. Resolves to when each was due, as performance.now(), in ms: latency counts from there, so that a
   * publisher that falls behind hides nothing.
   */
  pace(flights: readonly Flight[], perSecond: number, signal: AbortSignal): Promise<number[]>;
  stop(): Promise<void>;
}

/** `encode`: how a flight is written; absent: as JSON, which its content type says. */
export function createPublisher(options: {
  readonly kafka: Kafka;
  readonly topic: string;
  readonly partitions: number;
  readonly encode?: ((flight: Flight) => Buffer) | undefined;
}): Publisher {
  const { topic, partitions, encode } = options;
  // Idempotent: a request that is sent again after a lost answer doubles nothing.
  const producer = options.kafka.producer({ idempotent: true, maxInFlightRequests: 1, allowAutoTopicCreation: false });

  const messageOf = (flight: Flight): Message => {
    const key = Buffer.from(flight.origin);
    const to = { key, partition: partitionFor(key, partitions) };
    return encode === undefined
      ? { ...to, value: JSON.stringify(flight), headers: HEADERS }
      : { ...to, value: encode(flight) };
  };
  let published = 0;
  async function send(flights: readonly Flight[]): Promise<void> {
    await producer.send({ topic, acks: -1, messages: flights.map(messageOf) });
    published += flights.length;
  }

  return {
    start: () => producer.connect(),
    published: () => published,
    async flood(flights, signal) {
      for (let at = 0; at < flights.length; at += BATCH) {
        signal.throwIfAborted();
        await send(flights.slice(at, at + BATCH));
      }
    },
    async pace(flights, perSecond, signal) {
      const begin = performance.now();
      const due = flights.map((_, index) => begin + (index * 1000) / perSecond);
      for (let next = 0; next < flights.length; ) {
        const early = (due[next] as number) - performance.now();
        if (early > 0) await delay(early, undefined, { signal });
        signal.throwIfAborted();
        const now = performance.now();
        let end = next + 1;
        while (end < flights.length && (due[end] as number) <= now) end += 1;
        await send(flights.slice(next, end));
        next = end;
      }
      return due;
    },
    stop: () => producer.disconnect(),
  };
}
