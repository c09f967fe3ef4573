import type { Message } from 'kafkajs';
import { inject } from 'vitest';
import type { Assumed } from '../../src/config/load.ts';
import { partitionFor } from '../../src/topics/partition.ts';
import { COMPONENTS, ORDER_SERVICE, ORDERS } from '../bad-input/orders.ts';
import { type Follower, follow } from '../support/follow.ts';
import { createTopic, produce, type ReadRecord } from '../support/kafka.ts';
import { createOperator, type Operator } from '../support/operator.ts';
import { createDatabase } from '../support/postgres.ts';
import { eventually } from '../support/processes.ts';
import { fileScope } from '../support/scope.ts';
import { replyWith, startScriptedFunction } from '../support/scripted-function.ts';
import { deploymentName, type RunningRuntime, startRuntime } from '../support/start-runtime.ts';

export const PARTITIONS = 2;

/** A deployment whose function fails the orders that it is told to fail. */
export interface OrderShop {
  /** By name, as given. */
  readonly topics: Readonly<Record<string, string>>;
  readonly deadLetters: string;
  readonly replies: string;
  /** Of its processes. */
  readonly config: Assumed;
  readonly operator: Operator;
  readonly follower: Follower;
  /** Orders with this text fail so many times more. */
  readonly failing: Map<string, number>;
  /** Texts of the orders that the function was given, in order. */
  readonly given: string[];
  /** The present process. */
  readonly runtime: RunningRuntime;
  /** Ends the process and starts another. */
  restart(): Promise<void>;
  /** Sends orders of an entity, by their texts. */
  order(topic: string, entity: string, ...texts: string[]): Promise<void>;
  send(topic: string, message: Message): Promise<void>;
  /** Resolves when these are the answers that the entity has given so far, in order. */
  answered(entity: string, ...texts: string[]): Promise<void>;
  answersOf(entity: string): string[];
  /** Resolves when the entity has so many dead letters, to them. */
  letters(entity: string, count: number): Promise<ReadRecord[]>;
}

/** Makes it for the tests of a file. `names`: its input topics, by which `policies` may name them. */
export async function createOrderShop(
  names: readonly string[],
  policies: (topics: Readonly<Record<string, string>>) => readonly object[],
): Promise<OrderShop> {
  const file = fileScope();
  const failing = new Map<string, number>();
  const given: string[] = [];
  const fn = await startScriptedFunction(file, {
    descriptor: ORDERS,
    components: COMPONENTS,
    onCommand({ id, input }) {
      const text = String(input.text);
      given.push(text);
      const left = failing.get(text) ?? 0;
      if (left > 0) {
        failing.set(text, left - 1);
        return { reply: { command_id: id, client_action: { failure: { command_id: id, description: `no ${text}` } } } };
      }
      return {
        reply: {
          command_id: id,
          ...replyWith(fn.pack('orders.Done', { text })),
          events: [fn.pack('orders.Placed', { text })],
        },
      };
    },
  });
  const topics: Record<string, string> = {};
  for (const name of names) topics[name] = await createTopic(file, { partitions: PARTITIONS, name });
  const replies = await createTopic(file, { partitions: PARTITIONS, name: 'replies' });
  const deadLetters = await createTopic(file, { partitions: PARTITIONS, name: 'dead' });
  const config: Assumed = {
    'deployment.name': deploymentName(file),
    'kafka.brokers': inject('brokers'),
    'postgres.url': await createDatabase(file),
    'function.url': fn.url,
    'topics.subscriptions': names.map((name) => ({
      topic: topics[name] ?? '',
      service: ORDER_SERVICE,
      method: 'Place',
      format: 'json',
    })),
    'topics.destinations': { replies: [{ service: ORDER_SERVICE, method: 'Place', topic: replies }] },
    'deadLetters.topic': deadLetters,
    'failures.policies': policies(topics),
    'engine.takeoverGraceMs': 200,
  };
  const follower = await follow(file, { topics: [replies, deadLetters] });
  let runtime = startRuntime(file, config);
  await runtime.ready();
  const answersOf = (entity: string) =>
    follower
      .of(replies)
      .filter(({ key }) => String(key) === entity)
      .map(({ value }) => String(value?.subarray(2)));
  const lettersOf = (entity: string) => follower.of(deadLetters).filter(({ key }) => String(key) === entity);
  const send = (topic: string, messages: Message[]) => produce(topics[topic] ?? '', messages);
  return {
    topics,
    deadLetters,
    replies,
    config,
    operator: createOperator(config),
    follower,
    failing,
    given,
    get runtime() {
      return runtime;
    },
    async restart() {
      await runtime.stop();
      runtime = startRuntime(file, config);
    },
    async order(topic, entity, ...texts) {
      await send(
        topic,
        texts.map((text) => ({ key: entity, value: JSON.stringify({ id: entity, text }) })),
      );
    },
    async send(topic, message) {
      await send(topic, [message]);
    },
    async answered(entity, ...texts) {
      await eventually(`${entity} has answered ${texts}`, () => answersOf(entity).length >= texts.length, 40_000).catch(
        (cause: unknown) => {
          throw new Error(`${entity} has answered ${answersOf(entity)}, not ${texts}`, { cause });
        },
      );
      const all = answersOf(entity);
      if (all.join() !== texts.join()) throw new Error(`${entity} has answered ${all}, not ${texts}`);
    },
    answersOf,
    async letters(entity, count) {
      await eventually(`${entity} has ${count} dead letters`, () => lettersOf(entity).length >= count, 40_000);
      return lettersOf(entity);
    },
  };
}

/** An entity id of this shard. */
export function entityOf(shard: number, name: string): string {
  for (let n = 0; ; n++) {
    const id = `${name}-${n}`;
    if (partitionFor(Buffer.from(id), PARTITIONS) === shard) return id;
  }
}
