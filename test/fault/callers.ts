import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { type ServiceError, status } from '@grpc/grpc-js';
import { packagePath } from '../../src/package-path.ts';
import { createDoorClient, type DoorClient } from '../support/door-client.ts';
import { createRandom } from '../support/random.ts';
import { type Command, METHODS, type Method, randomCall } from './commands.ts';
import { NUMBER_KEY } from './door-record.ts';
import type { DoorCall } from './history.ts';
import type { OwnScope } from './scope.ts';
import { isWallet } from './steps.ts';

/** The header of a call that names its command (`idempotency.keys`). */
export const CALL_KEY = 'idempotency-key';
/** Built with the function of the runs. */
const DESCRIPTOR = 'test/fault/function/user-function.desc';
/** Calls under way at once, at most. */
const AT_ONCE = 200;
/** Shorter than what a fault lasts, so that outcomes are unknown and made sure of. */
const DEADLINE_MS = 5_000;
/** A call that has a key is made so many times at most. */
const ATTEMPTS = 3;
const AGAIN_AFTER_MS = 500;
/** When everything is healed, doors answer. */
const ANSWERED_WITHIN_MS = 60_000;
/** An engine comes back to its port at once, or later: gRPC's own back-off goes up to two minutes. */
const CHANNEL = { 'grpc.initial_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': 500 };
/** How the function says that it did what it was told to. */
const AS_TOLD = /as told/;

/** Clients of the doors of all engines. */
export interface Callers {
  /** All calls so far, those under way too; the index is the call's number. */
  readonly calls: readonly DoorCall[];
  /** Resolves when no call is under way any more. */
  pause(): Promise<void>;
  resume(): void;
  /** Makes one call, once, at the door of the engine in this slot; resolves when it is answered or unknown. */
  call(slot: number, command: Command): Promise<DoorCall>;
  /**
   * Reads every entity that a call has named, twice one after the other, at a door that is up. What had been written to the
   * log by a door is done when the first reading is answered, and what that has led to when the second one is. Rejects
   * when one is not answered within a minute.
   */
  readAll(): Promise<void>;
}

type OpenCall = { -readonly [K in keyof DoorCall]: DoorCall[K] } & { attempts: string[] };

export async function startCallers(
  t: OwnScope,
  options: {
    /** Ports of 127.0.0.1, by slot. */
    readonly ports: readonly number[];
    /** Slots whose engine runs, as far as is known. */
    readonly up: () => readonly number[];
    readonly seed: number;
    readonly perSecond: number;
    readonly only?: readonly Method[];
  },
): Promise<Callers> {
  const descriptor = await readFile(packagePath(DESCRIPTOR));
  const clients: DoorClient[] = [];
  for (const port of options.ports) {
    clients.push(await createDoorClient(t, { at: `127.0.0.1:${port}`, descriptor, channel: CHANNEL }));
  }
  const calls: OpenCall[] = [];
  const random = createRandom(options.seed ^ 0xca11);
  const underWay = new Set<Promise<void>>();
  let paused = true;
  let running = Promise.resolve();

  function begin(command: Command, keyed: boolean): OpenCall {
    const call: OpenCall = {
      n: calls.length,
      command,
      keyed,
      invokedAt: performance.now(),
      outcome: 'unknown',
      attempts: [],
    };
    calls.push(call);
    return call;
  }

  async function attempt(call: OpenCall, slot: number): Promise<void> {
    const { command, keyed, n } = call;
    const { method, ...input } = command;
    const metadata = { [NUMBER_KEY]: String(n), ...(keyed && { [CALL_KEY]: `call ${n}` }) };
    const tell = (code: status) => call.attempts.push(`${slot}: ${status[code]}`);
    try {
      const client = clients[slot];
      if (client === undefined) throw new RangeError(`there is no slot ${slot}`);
      const { output } = await client.call(`${serviceOf(method)}/${method}`, JSON.parse(JSON.stringify(input)), {
        metadata,
        deadlineMs: DEADLINE_MS,
      });
      call.answeredAt = performance.now();
      call.outcome = 'answered';
      // JSON of protobuf leaves out what is 0.
      const { balance = 0, changes = 0 } = output as { balance?: number; changes?: number };
      call.answer = { balance, changes };
      tell(status.OK);
    } catch (error) {
      const { code, details } = error as ServiceError;
      if (code === undefined) throw error;
      tell(code);
      if (code === status.ALREADY_EXISTS) {
        call.answeredAt = performance.now();
        call.outcome = 'repeated';
      } else if (isRefusal(code, details)) call.outcome = 'failed';
    }
  }

  function anyDoor(): number | undefined {
    const up = options.up();
    return up.length === 0 ? undefined : random.pick(up);
  }

  /** Makes a call, and again as long as nobody knows of it and it has a key. */
  async function one(command: Command, keyed: boolean, slot: number): Promise<void> {
    const call = begin(command, keyed);
    await attempt(call, slot);
    while (keyed && call.outcome === 'unknown' && call.attempts.length < ATTEMPTS && !paused) {
      await delay(random.int(AGAIN_AFTER_MS));
      const next = anyDoor();
      if (next !== undefined) await attempt(call, next);
    }
  }

  async function run(): Promise<void> {
    while (!paused) {
      await delay(random.int(2_000 / options.perSecond));
      const command = randomCall(random, options.only);
      const keyed = command.amount !== undefined && random.int(2) === 0;
      const slot = anyDoor();
      if (slot === undefined || paused || underWay.size >= AT_ONCE) continue;
      const call = one(command, keyed, slot);
      underWay.add(call);
      void call.finally(() => underWay.delete(call));
    }
    await Promise.all(underWay);
  }

  async function readOne(id: string): Promise<void> {
    const giveUp = performance.now() + ANSWERED_WITHIN_MS;
    const method = isWallet(id) ? 'Peek' : 'Look';
    for (;;) {
      const [slot] = options.up();
      const call = slot === undefined ? undefined : begin({ method, id }, false);
      if (call !== undefined && slot !== undefined) await attempt(call, slot);
      if (call?.outcome === 'answered') return;
      if (performance.now() > giveUp) {
        throw new Error(
          `${id} could not be read at a door ${ANSWERED_WITHIN_MS / 1_000} s after all was healed (${call?.attempts.join() ?? 'no engine is up'})`,
        );
      }
      await delay(100);
    }
  }

  async function pause(): Promise<void> {
    paused = true;
    await running;
  }
  t.onTestFinished(pause);

  return {
    calls,
    pause,
    resume() {
      paused = options.perSecond === 0;
      if (!paused) running = run();
    },
    async call(slot, command) {
      const call = begin(command, false);
      await attempt(call, slot);
      return call;
    },
    async readAll() {
      for (let round = 0; round < 2; round++) {
        const named = new Set(calls.flatMap(({ command }) => [command.id, ...[command.to ?? []].flat()]));
        await Promise.all([...named].map(readOne));
      }
    },
  };
}

function serviceOf(method: Method): string {
  const found = Object.entries(METHODS).find(([, methods]) => (methods as readonly Method[]).includes(method));
  if (found === undefined) throw new RangeError(`no service has ${method}`);
  return found[0];
}

/** The command has no effect and will have none: what else went wrong may have happened on the way of its answer. */
function isRefusal(code: status, details: string): boolean {
  switch (code) {
    case status.CANCELLED:
    case status.DEADLINE_EXCEEDED:
    case status.INTERNAL:
    case status.UNAVAILABLE:
      return false;
    case status.UNKNOWN:
      return AS_TOLD.test(details);
    default:
      return true;
  }
}
