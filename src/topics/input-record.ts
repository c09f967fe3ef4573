import type { KafkaMessage } from 'kafkajs';
import type { InputRecord } from '../model/record.ts';

type Headers = InputRecord['headers'];

const NO_HEADERS: Headers = Object.freeze({});
const EMPTY = Buffer.alloc(0);

/**
 * A record as kafkajs delivers it, in the model's shape. A header without a value, which Kafka allows and kafkajs gives
 * as null against its own types, becomes one with an empty value.
 */
export function toInputRecord(topic: string, partition: number, message: KafkaMessage): InputRecord {
  return {
    topic,
    partition,
    offset: BigInt(message.offset),
    key: message.key,
    value: message.value,
    headers: message.headers === undefined ? NO_HEADERS : withoutNulls(message.headers),
    timestamp: Number(message.timestamp),
  };
}

function withoutNulls(headers: Headers): Headers {
  let clean: Record<string, Headers[string]> | undefined;
  for (const name in headers) {
    const given: unknown = headers[name];
    const hasNull = given === null || (Array.isArray(given) && given.includes(null));
    if (!hasNull) continue;
    clean ??= { ...headers };
    clean[name] = Array.isArray(given) ? given.map((value: Buffer | string | null) => value ?? EMPTY) : EMPTY;
  }
  return clean ?? headers;
}
