import type { Assumed } from '../../src/config/load.ts';
import type { Point } from './engine-points.ts';

/** What is done when a point has been reached `nth` times. */
export interface Fault {
  readonly point: Point;
  readonly nth: number;
  readonly signal: 'SIGKILL' | 'SIGSTOP';
}

/** What an engine's process is to be: in JSON, in the environment variable. */
export interface Order {
  readonly config: Assumed;
  readonly fault?: Fault;
  /** The consumer brings every batch of records twice, as one may that was sent back to the committed offsets. */
  readonly bringsTwice?: boolean;
  /** So many parked commands of an entity are put back together, at most. */
  readonly putBackTogether?: number;
  /** So many events or values are read for a feed together, at most. */
  readonly fedTogether?: number;
}

export const ORDER_VARIABLE = 'STATEFERRY_TEST_ORDER';

/** What an engine's process tells its test, one JSON line each on its file descriptor. */
export type Report =
  | { readonly kind: 'listening'; readonly port: number }
  | { readonly kind: 'armed' }
  | { readonly kind: 'reached'; readonly point: Point }
  | { readonly kind: 'rebuild'; readonly code: string }
  | { readonly kind: 'failed'; readonly message: string };

export const REPORTS_DESCRIPTOR = 3;
