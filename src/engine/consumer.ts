/** The part of the consumer that the engine drives (topics/consumption.ts). */
export interface Consumer {
  assigned(): readonly number[];
  confirm(): Promise<void>;
  seek(topic: string, partition: number, offset: bigint): void;
  pause(partition: number): void;
  resume(partition: number): void;
  forget(partition: number): void;
  start(): Promise<void>;
  stop(): Promise<void>;
}
