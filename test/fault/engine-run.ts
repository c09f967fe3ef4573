import { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf, StateferryError } from '../../src/errors.ts';
import { hostEngine } from '../support/engine-host.ts';
import type { Fault } from '../support/engine-order.ts';
import { MUTATIONS } from './mutations.ts';
import type { ClockOrder, FaultOrder, FaultReport } from './order.ts';

/** What a process that has stopped in order may still wait for, in ms: kafkajs tries to connect for some ten seconds, and cannot be told not to. */
const ENDS_WITHIN_MS = 15_000;

/** Runs an engine as its order says until SIGTERM, and ends the process. */
export function runEngine(order: FaultOrder, report: (line: FaultReport) => void): void {
  const breakIt = order.mutation === undefined ? undefined : MUTATIONS[order.mutation].parts;
  const engine = hostEngine({
    config: order.config,
    fault: order.fault,
    report,
    change: (parts) => breakIt?.(parts, order.config['kafka.brokers'] as readonly string[]) ?? parts,
  });

  const orders = createInterface({ input: process.stdin })
    .on('line', (line) => {
      const next = JSON.parse(line) as Fault | ClockOrder;
      if ('clockByMs' in next) moveClock(next.clockByMs);
      else engine.arm(next);
    })
    // Whoever started us is gone.
    .on('close', () => {
      if (!engine.stopping.aborted) process.exit(1);
    });

  engine.run().then(
    async () => {
      report({ kind: 'stopped' });
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
