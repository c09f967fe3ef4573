import { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { loadConfig } from '../../src/config/load.ts';
import { messageOf, StateferryError } from '../../src/errors.ts';
import { kafkaLogCreator } from '../../src/observe/kafka-log.ts';
import { createLog } from '../../src/observe/log.ts';
import { createRuntime } from '../../src/runtime.ts';
import { createKafka } from '../../src/topics/client.ts';
import type { Fault } from '../support/engine-order.ts';
import { type Point, withPoints } from '../support/engine-points.ts';
import { MUTATIONS } from './mutations.ts';
import type { ClockOrder, FaultOrder, FaultReport } from './order.ts';

/** What a process that has stopped in order may still wait for, in ms. */
const ENDS_WITHIN_MS = 3_000;

/** Runs an engine as its order says until SIGTERM, and ends the process. */
export function runEngine(order: FaultOrder, report: (line: FaultReport) => void): void {
  let fault = order.fault;
  let left = fault?.nth ?? 0;

  function reach(point: Point): void {
    if (fault === undefined || fault.point !== point || --left > 0) return;
    const { signal } = fault;
    fault = undefined;
    report({ kind: 'reached', point });
    process.kill(process.pid, signal);
  }

  const orders = createInterface({ input: process.stdin })
    .on('line', (line) => {
      const next = JSON.parse(line) as Fault | ClockOrder;
      if ('clockByMs' in next) moveClock(next.clockByMs);
      else {
        fault = next;
        left = next.nth;
        report({ kind: 'armed' });
      }
    })
    // Whoever started us is gone.
    .on('close', () => {
      if (!stop.signal.aborted) process.exit(1);
    });

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
  const breakIt = order.mutation === undefined ? undefined : MUTATIONS[order.mutation].parts;

  createRuntime({
    config,
    log,
    devMode: false,
    createTopics: false,
    onListening: ({ port }) => report({ kind: 'listening', port }),
    replace(parts) {
      const reporting = {
        ...parts,
        signals: {
          ...parts.signals,
          rebuild(code: Parameters<typeof parts.signals.rebuild>[0]) {
            report({ kind: 'rebuild', code });
            parts.signals.rebuild(code);
          },
        },
      };
      const kafka = {
        client,
        groupId: config.deployment.name,
        transactionTimeoutMs: config.kafka.transactionTimeoutMs,
      };
      const pointed = withPoints(breakIt?.(reporting) ?? reporting, reach, kafka);
      return pointed;
    },
  })
    .run(stop.signal)
    .then(
      async () => {
        orders.close();
        process.stdin.destroy();
        // A process that nothing keeps alive ends by itself, and this timer does not count.
        await delay(ENDS_WITHIN_MS, undefined, { ref: false });
        report({ kind: 'leaked', resources: process.getActiveResourcesInfo(), ports: openPorts() });
        process.exit(0);
      },
      (error: unknown) => {
        const code = error instanceof StateferryError ? `${error.code}: ` : '';
        report({ kind: 'failed', message: code + messageOf(error) });
        process.exit(1);
      },
    );
}

/** From now on, the time of day is `byMs` later than it was; timers and performance.now() go on as they did. */
function moveClock(byMs: number): void {
  const before = Date.now.bind(Date);
  const Before = Date;
  class Moved extends Before {
    constructor(...given: [] | ConstructorParameters<typeof Before>) {
      if (given.length === 0) super(before() + byMs);
      else super(...given);
    }

    static override now(): number {
      return before() + byMs;
    }
  }
  globalThis.Date = Moved as DateConstructor;
}

/** Where the sockets lead that are still open. Node tells of its handles by this name only. */
function openPorts(): number[] {
  const handles = Reflect.get(process, '_getActiveHandles') as () => object[];
  return handles
    .call(process)
    .flatMap((handle) => (handle instanceof Socket && handle.remotePort !== undefined ? [handle.remotePort] : []));
}
