import type { Order, Report } from '../support/engine-order.ts';
import type { MutationName } from './mutations.ts';

/** What an engine of a fault run is to be. */
export interface FaultOrder extends Order {
  readonly mutation?: MutationName;
}

/**
 * Sent to a running engine as a line on its standard input, in the place of a fault at a point: its clock is moved by so
 * much, as an operator or a time server does it.
 */
export interface ClockOrder {
  readonly clockByMs: number;
}

/** What keeps a process alive that has stopped in order: kinds of resources, of Node. */
export interface LeakReport {
  readonly kind: 'leaked';
  readonly resources: readonly string[];
}

export type FaultReport = Report | LeakReport;
