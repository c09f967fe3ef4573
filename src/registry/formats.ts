import type { DescMessage } from '@bufbuild/protobuf';
import type { Unframed } from '../model/framed.ts';
import type { Misfit } from './schema.ts';

/** How the values of one schema become messages. */
export interface ReadPlan {
  /** What keeps the schema from fitting the function's types; then `read` is of no use. */
  readonly misfits: readonly Misfit[];
  /** Of a framed value, the frame included. Throws what it finds wrong, as any Error. */
  read(value: Buffer): Unframed;
}

/** How messages become values of one schema. */
export interface WritePlan {
  readonly misfits: readonly Misfit[];
  /** By message type: the framed value of its bytes. Throws what it finds wrong, as any Error. */
  readonly ways: ReadonlyMap<string, (value: Uint8Array) => Uint8Array>;
}

/** Of a schema: the types that may be meant, and the one that it is whatever its name. */
export type PlanReading<S> = (schema: S, types: readonly DescMessage[], only: DescMessage | undefined) => ReadPlan;
