import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { messageOf } from '../../src/errors.ts';
import { hostEngine } from './engine-host.ts';
import { type Fault, ORDER_VARIABLE, type Order, REPORTS_DESCRIPTOR, type Report } from './engine-order.ts';

/*
 * A process of a deployment, as `stateferry run` makes it, that a test can end or stop at one point of the way. It gets
 * its configuration and its first fault in its environment, further faults as lines on its standard input, and reports
 * by lines of its own; see engine-process.ts.
 */

// Written at once: the process may be gone in the next instant.
function report(line: Report): void {
  writeSync(REPORTS_DESCRIPTOR, `${JSON.stringify(line)}\n`);
}

function twice<T>(take: (batch: T) => void): (batch: T) => void {
  return (batch) => {
    take(batch);
    take(batch);
  };
}

/** As if there were room for no more. */
function atMost<Change>(
  count: number | undefined,
  { changes, isWhole }: { readonly changes: readonly Change[]; readonly isWhole: boolean },
) {
  if (count === undefined || changes.length <= count) return { changes, isWhole };
  return { changes: changes.slice(0, count), isWhole: false };
}

const order = JSON.parse(process.env[ORDER_VARIABLE] ?? '') as Order;
const engine = hostEngine({
  config: order.config,
  fault: order.fault,
  report,
  change: (parts) => ({
    ...parts,
    control: {
      ...parts.control,
      parked: (key, limit) => parts.control.parked(key, limit ?? order.putBackTogether),
    },
    feeds: {
      ...parts.feeds,
      store: {
        ...parts.feeds.store,
        events: async (wanted) => atMost(order.fedTogether, await parts.feeds.store.events(wanted)),
        values: async (wanted) => atMost(order.fedTogether, await parts.feeds.store.values(wanted)),
      },
    },
    createConsumer: (handlers) =>
      parts.createConsumer(
        order.bringsTwice === true ? { ...handlers, onRecords: twice(handlers.onRecords) } : handlers,
      ),
  }),
});

createInterface({ input: process.stdin })
  .on('line', (line) => engine.arm(JSON.parse(line) as Fault))
  // The test is gone.
  .on('close', () => process.exit(1));

engine.run().then(
  () => process.exit(0),
  (error: unknown) => {
    report({ kind: 'failed', message: messageOf(error) });
    process.exit(1);
  },
);
