import { type Assumed, loadConfig } from '../../src/config/load.ts';
import type { EngineOptions } from '../../src/engine/engine.ts';
import { connectKafka } from '../../src/kafka-connection.ts';
import { createLog } from '../../src/observe/log.ts';
import { createRuntime } from '../../src/runtime.ts';
import type { Fault, Report } from './engine-order.ts';
import { type Point, withPoints } from './engine-points.ts';

/** An engine in this process, as `stateferry run` makes it, that can be ended or stopped at one point of the way. */
export interface HostedEngine {
  /** Aborted by SIGTERM. */
  readonly stopping: AbortSignal;
  /** From now on, this fault is waited for, in the place of any other. */
  arm(fault: Fault): void;
  /** Runs until SIGTERM; rejects with what ended it otherwise. */
  run(): Promise<void>;
}

/** `change` replaces parts of each engine before the points are put around them. */
export function hostEngine(options: {
  readonly config: Assumed;
  readonly fault: Fault | undefined;
  readonly report: (line: Report) => void;
  readonly change: (parts: EngineOptions) => EngineOptions;
}): HostedEngine {
  const { report, change } = options;
  let { fault } = options;
  let left = fault?.nth ?? 0;

  function reach(point: Point): void {
    if (fault === undefined || fault.point !== point || --left > 0) return;
    const { signal } = fault;
    fault = undefined;
    report({ kind: 'reached', point });
    process.kill(process.pid, signal);
  }

  const { config } = loadConfig({
    argvFlags: {},
    env: {},
    cwd: process.cwd(),
    readFile: () => undefined,
    assumed: options.config,
  });
  const log = createLog(config.log);
  const stop = new AbortController();
  process.on('SIGTERM', () => stop.abort());
  const connect = (onConnectionLost: () => void) => connectKafka(config, log, onConnectionLost);
  const { transactionTimeoutMs } = config.kafka;
  const runtime = createRuntime({
    config,
    log,
    devMode: false,
    createTopics: false,
    onListening: ({ port }) => report({ kind: 'listening', port }),
    replace(parts) {
      const reporting: EngineOptions = {
        ...parts,
        signals: {
          ...parts.signals,
          rebuild(code) {
            report({ kind: 'rebuild', code });
            parts.signals.rebuild(code);
          },
        },
      };
      return withPoints(change(reporting), reach, { connect, groupId: config.deployment.name, transactionTimeoutMs });
    },
  });
  return {
    stopping: stop.signal,
    arm(next) {
      fault = next;
      left = next.nth;
      report({ kind: 'armed' });
    },
    run: () => runtime.run(stop.signal),
  };
}
