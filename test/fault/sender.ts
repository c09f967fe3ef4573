import { setTimeout as delay } from 'node:timers/promises';
import { partitionFor } from '../../src/topics/partition.ts';
import { createRandom } from '../support/random.ts';
import { harnessClient } from './client.ts';
import { commandMessage, type Method, randomCommand } from './commands.ts';
import type { Sent } from './history.ts';

const EVERY_MS = 25;
const MADE_UP_MS = 200;
/** Of so many records one goes to a partition that its entity does not belong to. */
const STRAY_IN = 60;

/** A stream of seeded random commands into a topic. */
export interface Sender {
  readonly sent: readonly Sent[];
  /** Resolves when nothing is on its way any more. */
  pause(): Promise<void>;
  resume(): void;
  /** Sends so many at once, and resolves when all are acknowledged or unknown. */
  burst(count: number): Promise<void>;
}

/**
 * Every command is sent once by us, with at most two attempts of the client: what is not acknowledged then is unknown,
 * and the next one is sent. The log of the input topic says what there is.
 */
export async function startSender(options: {
  readonly brokers: readonly string[];
  readonly topic: string;
  readonly partitions: number;
  readonly seed: number;
  readonly perSecond: number;
  readonly only?: readonly Method[];
}): Promise<Sender & { stop(): Promise<void> }> {
  const { topic, partitions, perSecond } = options;
  const random = createRandom(options.seed ^ 0x5eed);
  const producer = harnessClient(options.brokers, 1).producer({ allowAutoTopicCreation: false });
  await producer.connect();
  const sent: Sent[] = [];
  let n = 0;
  let paused = true;
  let running = Promise.resolve();

  async function send(count: number): Promise<void> {
    const first = n;
    n += count;
    const messages = Array.from({ length: count }, (_, i) => {
      const command = randomCommand(random, options.only);
      const right = partitionFor(Buffer.from(command.id), partitions);
      const partition = random.int(STRAY_IN) === 0 ? random.int(partitions) : right;
      return { ...commandMessage(command, first + i), partition };
    });
    const at = performance.now();
    try {
      const acknowledged = await producer.send({ topic, messages, acks: -1, timeout: 5_000 });
      const next = new Map(acknowledged.map((one) => [one.partition, BigInt(one.baseOffset ?? -1)]));
      messages.forEach(({ partition }, i) => {
        const offset = next.get(partition);
        // kafkajs passes over partitions whose leader it does not know, and says nothing.
        if (offset === undefined) {
          sent.push({ n: first + i, outcome: 'unknown', at });
          return;
        }
        next.set(partition, offset + 1n);
        sent.push({ n: first + i, outcome: 'acknowledged', partition, offset, at });
      });
    } catch {
      for (let i = 0; i < count; i++) sent.push({ n: first + i, outcome: 'unknown', at });
    }
  }

  async function run(): Promise<void> {
    let last = performance.now();
    while (!paused) {
      await delay(EVERY_MS);
      // What a broker that was away held up is not made up for.
      const owed = Math.round((perSecond * Math.min(MADE_UP_MS, performance.now() - last)) / 1_000);
      if (owed === 0) continue;
      last = performance.now();
      await send(owed);
    }
  }
  const pause = async (): Promise<void> => {
    paused = true;
    await running;
  };
  return {
    sent,
    pause,
    resume() {
      paused = false;
      running = run();
    },
    burst: send,
    async stop() {
      await pause();
      await producer.disconnect();
    },
  };
}
