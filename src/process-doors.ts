import type { Kafka } from 'kafkajs';
import type { Config } from './config/config.ts';
import type { AccessOf } from './door-access.ts';
import { guardCalls } from './doors/access/guard-calls.ts';
import { createDoors, type Doors } from './doors/doors.ts';
import { createFunctionCalls } from './doors/function-calls.ts';
import { createLogCalls, type LogCallsOptions } from './doors/log-calls.ts';
import type { DoorTls } from './doors/tls.ts';
import type { Discovered } from './functions/discovery.ts';
import type { FunctionLink } from './functions/link.ts';
import type { Log } from './observe/log.ts';

/** The deployment's own topics, as its doors use them. */
export type DoorLog = Omit<LogCallsOptions, 'kafka' | 'onTrouble'>;

/** The doors of this process, and what stands behind them. */
export interface ProcessDoors extends Pick<Doors, 'changed' | 'close'> {
  /** host:port; undefined: they are not open. */
  address(): string | undefined;
  /** Opens them, or goes on with another version of the function. May be called again after it has failed. */
  serve(found: Discovered, topics: DoorLog): Promise<void>;
  /** Commands for the log wait here, with their callers, or go there again. */
  hold(held: boolean): void;
}

/** Doors that open with the first `serve`. */
export function openDoors(
  config: Config,
  options: {
    readonly kafka: Kafka;
    readonly link: FunctionLink;
    readonly accessOf: AccessOf;
    readonly tls: DoorTls | undefined;
    readonly log: Log;
    readonly onListening: ((address: { host: string; port: number }) => void) | undefined;
  },
): ProcessDoors {
  const { kafka, link, accessOf, tls, log } = options;
  let address: string | undefined;
  let logCalls: ReturnType<typeof createLogCalls> | undefined;
  let isListening = false;
  let held = false;
  const doors = createDoors({
    ...config.doors,
    tls: tls && {
      ...tls,
      onRefused: (reason, from) => log.debug({ reason, from }, 'A connection was refused by TLS'),
      onRenewed: () => log.info('The certificates of the doors were read again'),
      onBrokenFiles: (reason) =>
        log.warn({ reason }, 'The certificates of the doors have changed and cannot be used; those before stay'),
    },
    onPlainListening: (at) => log.info(at, 'The doors speak clear text, too, to this host'),
    isFunctionUp: () => link.isUp(),
    onListening(at) {
      address = `${at.host}:${at.port}`;
      log.info(at, 'The doors are open');
      options.onListening?.(at);
    },
    onFault: (what) => log.warn({ what }, 'Part of the HTTP door is not served'),
  });
  return {
    async serve(found, topics) {
      const { dialect, spec, descriptors } = found;
      // Kept when it does not start, so that what it has opened is closed in the end.
      logCalls ??= createLogCalls({
        kafka,
        ...topics,
        onTrouble: (reason) => log.warn({ reason }, 'Trouble with the answers'),
      });
      logCalls.hold(held);
      if (!isListening) await logCalls.start();
      isListening = true;
      const calls = createFunctionCalls({
        client: link.client,
        dialect,
        descriptors,
        resolve: (service, method) => spec.components.get(service)?.methods.get(method),
        isFunctionUp: () => link.isUp(),
        onLost: (reason) => link.suspect(reason),
        log: logCalls,
        timeoutMs: config.doors.timeoutMs,
        functionDeadlineMs: config.function.deadlineMs,
        maxRecordBytes: config.engine.maxRecordBytes,
      });
      const access = accessOf(found);
      const { mustBeTold } = access;
      await doors.serve({ components: spec.components, descriptors, mustBeTold }, guardCalls(calls, access));
    },
    hold(wanted) {
      held = wanted;
      logCalls?.hold(held);
    },
    address: () => address,
    changed: () => doors.changed(),
    async close() {
      address = undefined;
      await doors.close();
      const closing = logCalls;
      logCalls = undefined;
      await closing?.stop();
    },
  };
}
