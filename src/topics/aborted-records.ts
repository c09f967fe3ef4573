import { replaceModule } from './kafkajs-module.ts';

/** Where kafkajs 2.2.4 decodes the answers to fetches that tell of aborted transactions (versions 4 to 11). */
const MODULES = [4, 5, 6, 7, 8, 9, 10, 11].map((v) => `kafkajs/src/protocol/requests/fetch/v${v}/response.js`);

/** Type of the control record that ends an aborted transaction. */
const ABORT = 0;

/** A record as kafkajs has decoded it. */
export interface FetchedRecord {
  readonly offset: string;
  readonly key: Buffer | null;
  /** A record that kafkajs gives to nobody. */
  isControlRecord: boolean;
  readonly batchContext: { readonly producerId: string; readonly inTransaction: boolean };
}

/** What a fetch brought of one partition, as kafkajs has decoded it. */
export interface FetchedPartition {
  readonly messages: readonly FetchedRecord[];
  /** Those that overlap what was fetched, in the order in which they ended. */
  abortedTransactions?: readonly { readonly producerId: string; readonly firstOffset: string }[] | null;
}

interface FetchResponse {
  readonly responses: readonly { readonly partitions: readonly FetchedPartition[] }[];
}

interface Codec {
  readonly decode: (bytes: Buffer) => Promise<FetchResponse>;
}

/**
 * Hides the records of aborted transactions, as the Java client tells them: an aborted transaction of a producer goes from
 * its first offset to the producer's next abort marker. They become control records, which kafkajs passes over and counts
 * as read.
 *
 * kafkajs itself steps into at most one aborted transaction a record, and takes them to be in the order of their first
 * offsets. Where two of them overlap, and a fetch begins inside both or the second one ends first, it gives away records
 * of the other as if they were committed: commands that were never sent would be carried out. It also takes any
 * record whose key is four zero bytes for an abort marker.
 */
export function hideAborted(partition: FetchedPartition): void {
  const { messages, abortedTransactions } = partition;
  if (!abortedTransactions || abortedTransactions.length === 0) return;
  const ahead = abortedTransactions
    .map(({ producerId, firstOffset }) => ({ producerId, first: BigInt(firstOffset) }))
    .sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0));
  const inside = new Set<string>();
  let next = 0;
  for (const message of messages) {
    const offset = BigInt(message.offset);
    for (let one = ahead[next]; one !== undefined && one.first <= offset; one = ahead[++next]) {
      inside.add(one.producerId);
    }
    const { producerId, inTransaction } = message.batchContext;
    if (message.isControlRecord) {
      if (isAbortMarker(message.key)) inside.delete(producerId);
    } else if (inTransaction && inside.has(producerId)) message.isControlRecord = true;
  }
  partition.abortedTransactions = [];
}

/** Lets every consumer of this process hide aborted records by `hideAborted`. To be called before the first fetch. */
export function installAbortedFilter(): void {
  for (const path of MODULES) {
    replaceModule<Codec>(path, ({ decode, ...rest }) => ({
      ...rest,
      async decode(bytes) {
        const response = await decode(bytes);
        for (const { partitions } of response.responses) partitions.forEach(hideAborted);
        return response;
      },
    }));
  }
}

/** Version and type, 16 bits each. */
function isAbortMarker(key: Buffer | null): boolean {
  return key !== null && key.length >= 4 && key.readInt16BE(2) === ABORT;
}
