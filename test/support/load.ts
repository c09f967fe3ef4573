import { setTimeout as delay } from 'node:timers/promises';
import { createClient } from './kafka.ts';
import { ledgerMessage, randomLedgerCommand } from './ledgers.ts';
import { eventually } from './processes.ts';
import { createRandom } from './random.ts';
import type { Scope } from './scope.ts';

const EVERY_MS = 25;
/** A broker that is away is waited for, in connections and in requests. */
const RETRIES = 1_000;

/** A stream of random commands into a topic. */
export interface Load {
  /** How many the broker has confirmed. */
  readonly sent: number;
  /** Resolves when so many more have been confirmed. */
  more(count: number): Promise<void>;
  /** Resolves to `sent` when nothing is on its way any more. */
  pause(): Promise<number>;
  resume(): void;
}

/**
 * Sends random commands to ledgers, keyed by ledger, `perSecond` of them until the scope ends. A broker that goes away
 * is waited for, and a batch that is sent again is one batch (an idempotent producer).
 */
export async function startLoad(
  t: Scope,
  options: {
    readonly topic: string;
    readonly seed: number;
    readonly perSecond: number;
    readonly brokers?: readonly string[];
  },
): Promise<Load> {
  const { topic, perSecond } = options;
  const random = createRandom(options.seed);
  const producer = createClient(options.brokers, RETRIES).producer({
    allowAutoTopicCreation: false,
    idempotent: true,
    maxInFlightRequests: 1,
    retry: { initialRetryTime: 50, maxRetryTime: 500, retries: RETRIES },
  });
  await producer.connect();
  let sent = 0;
  let paused = false;
  let failure: unknown;
  let running = Promise.resolve();

  async function run(): Promise<void> {
    const perTurn = Math.max(1, Math.round((perSecond * EVERY_MS) / 1_000));
    while (!paused) {
      const messages = Array.from({ length: perTurn }, () => ledgerMessage(randomLedgerCommand(random)));
      await producer.send({ topic, messages });
      sent += perTurn;
      await delay(EVERY_MS);
    }
  }
  const resume = (): void => {
    paused = false;
    running = run().catch((error: unknown) => {
      failure = error;
    });
  };
  const pause = async (): Promise<number> => {
    paused = true;
    await running;
    if (failure !== undefined) throw failure;
    return sent;
  };
  resume();
  t.onTestFinished(async () => {
    await pause();
    await producer.disconnect();
  });
  return {
    get sent() {
      return sent;
    },
    async more(count) {
      const goal = sent + count;
      await eventually(`${count} more commands are sent`, () => sent >= goal || failure !== undefined, 60_000);
      if (failure !== undefined) throw failure;
    },
    pause,
    resume,
  };
}
