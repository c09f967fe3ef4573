/** The isolation levels of Fetch and ListOffsets. */
export const READ_UNCOMMITTED = 0;
export const READ_COMMITTED = 1;

/** Timestamps that ListOffsets takes for the oldest offset and for the end. */
export const EARLIEST = '-2';
export const LATEST = '-1';

interface ByTopic<P> {
  readonly topic: string;
  readonly partitions: readonly P[];
}

/** What is asked of a broker's partitions: Fetch and ListOffsets as kafkajs 2.2.4 has them. `P`: what a fetch brings of one. */
export interface FetchBroker<P> {
  fetch(request: {
    isolationLevel: number;
    maxWaitTime: number;
    minBytes: number;
    maxBytes: number;
    topics: readonly ByTopic<{ partition: number; fetchOffset: string; maxBytes: number }>[];
  }): Promise<{ readonly responses: readonly { readonly topicName: string; readonly partitions: readonly P[] }[] }>;
  listOffsets(request: {
    isolationLevel: number;
    topics: readonly ByTopic<{ partition: number; timestamp: string }>[];
  }): Promise<{ readonly responses: readonly ByTopic<{ readonly partition: number; readonly offset: string }>[] }>;
  disconnect(): Promise<void>;
}
