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

/** It has stopped in order, and is about to end. */
export interface StoppedReport {
  readonly kind: 'stopped';
}

/** What keeps a process alive that has stopped in order. */
export interface LeakReport {
  readonly kind: 'leaked';
  /** Kinds of resources, of Node; those of its standard streams too. */
  readonly resources: readonly string[];
  /** Of the sockets among them: the ports that they lead to. */
  readonly ports: readonly number[];
}

export type FaultReport = Report | StoppedReport | LeakReport;
