import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { loadConfig } from '../../src/config/load.ts';
import { messageOf } from '../../src/errors.ts';
import { kafkaLogCreator } from '../../src/observe/kafka-log.ts';
import { createLog } from '../../src/observe/log.ts';
import { createRuntime } from '../../src/runtime.ts';
import { createKafka } from '../../src/topics/client.ts';
import { type Fault, ORDER_VARIABLE, type Order, REPORTS_DESCRIPTOR, type Report } from './engine-order.ts';
import { type Point, withPoints } from './engine-points.ts';

/*
 * A process of a deployment, as `stateferry run` makes it, that a test can end or stop at one point of the way. It gets
 * its configuration and its first fault in its environment, further faults as lines on its standard input, and reports
 * by lines of its own; see engine-process.ts.
 */

// Written at once: the process may be gone in the next instant.
function report(line: Report): void {
  writeSync(REPORTS_DESCRIPTOR, `${JSON.stringify(line)}\n`);
}

const order = JSON.parse(process.env[ORDER_VARIABLE] ?? '') as Order;
let fault = order.fault;
let left = fault?.nth ?? 0;

function reach(point: Point): void {
  if (fault === undefined || fault.point !== point || --left > 0) return;
  const { signal } = fault;
  fault = undefined;
  report({ kind: 'reached', point });
  process.kill(process.pid, signal);
}

function twice<T>(take: (batch: T) => void): (batch: T) => void {
  return (batch) => {
    take(batch);
    take(batch);
  };
}

createInterface({ input: process.stdin })
  .on('line', (line) => {
    fault = JSON.parse(line) as Fault;
    left = fault.nth;
    report({ kind: 'armed' });
  })
  // The test is gone.
  .on('close', () => process.exit(1));

const { config } = loadConfig({
  argvFlags: {},
  env: {},
  cwd: process.cwd(),
  readFile: () => undefined,
  assumed: order.config,
});
const log = createLog(config.log);
const stop = new AbortController();
process.on('SIGTERM', () => stop.abort());
const client = createKafka({ ...config.kafka, logCreator: kafkaLogCreator(log) });
const { transactionTimeoutMs } = config.kafka;

createRuntime({
  config,
  log,
  devMode: false,
  createTopics: false,
  onListening: ({ port }) => report({ kind: 'listening', port }),
  replace: (parts) =>
    withPoints(
      {
        ...parts,
        control: {
          ...parts.control,
          parked: (key, limit) => parts.control.parked(key, limit ?? order.putBackTogether),
        },
        createConsumer: (handlers) =>
          parts.createConsumer(
            order.bringsTwice === true ? { ...handlers, onRecords: twice(handlers.onRecords) } : handlers,
          ),
        signals: {
          ...parts.signals,
          rebuild(code) {
            report({ kind: 'rebuild', code });
            parts.signals.rebuild(code);
          },
        },
      },
      reach,
      { client, groupId: config.deployment.name, transactionTimeoutMs },
    ),
})
  .run(stop.signal)
  .then(
    () => process.exit(0),
    (error: unknown) => {
      report({ kind: 'failed', message: messageOf(error) });
      process.exit(1);
    },
  );
