/** A record as Kafka delivered it. `offset` is a bigint from here inward; `key`, `value` are Kafka's own buffers. */
export interface InputRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** A header may repeat; kafkajs then hands an array. */
  readonly headers: Readonly<Record<string, Buffer | string | (Buffer | string)[] | undefined>>;
  /** Milliseconds since the epoch, as the record carries it. */
  readonly timestamp: number;
}

/** A record of ours, ready to go: everything is decided, the partition too, so that a second emission is the same. */
export interface OutputRecord {
  readonly topic: string;
  readonly partition: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  /** Pairs, in order. */
  readonly headers: readonly (readonly [string, string | Uint8Array])[];
}

/** Next offset, per topic, of one shard. */
export type Positions = Readonly<Record<string, bigint>>;
