import type pg from 'pg';
import type { PayloadReader } from '../inspect/payloads.ts';
import type { Generation } from '../journal/generations.ts';
import type { PartitionLogs } from '../topics/partition-log.ts';

/** How far a comparison is: so many items of so many, of one side. */
export type DiffProgress = (step: string, items: number) => void;

/** What a comparison works with. */
export interface DiffOptions {
  readonly client: pg.ClientBase;
  readonly pool: pg.Pool;
  readonly logs: PartitionLogs;
  readonly deployment: string;
  readonly generation: Generation;
  readonly topics: {
    /** That the live function publishes to, and the new one; they exist. */
    readonly outputs: readonly string[];
    readonly commands: string;
    /** Of the generation that was made. */
    readonly madeCommands: string;
    readonly answers: string;
    readonly deadLetters: string;
  };
  /** By service; of both versions. */
  readonly entityTypes: ReadonlyMap<string, string>;
  readonly payloads: PayloadReader;
  /** Paths in JSON that may differ. */
  readonly ignore: readonly string[];
  readonly progress: DiffProgress;
  readonly signal: AbortSignal;
}
