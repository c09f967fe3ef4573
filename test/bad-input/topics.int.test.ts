import { beforeAll, describe, expect, it } from 'vitest';
import type { Assumed } from '../../src/config/load.ts';
import { createTopics } from '../../src/topics/ensure.ts';
import type { RecordBatch } from '../../src/topics/read-ahead.ts';
import { createTopic, produce, type ReadRecord, readCommitted, withAdmin } from '../support/kafka.ts';
import { createDatabase } from '../support/postgres.ts';
import { eventually } from '../support/processes.ts';
import { fileScope, type Scope } from '../support/scope.ts';
import { replyWith, type ScriptedFunction, startScriptedFunction } from '../support/scripted-function.ts';
import { deploymentName, type RunningRuntime, startRuntime } from '../support/start-runtime.ts';
import { COMPONENTS, ORDER_SERVICE, ORDERS } from './orders.ts';

const PARTITIONS = 2;
/** Of each of the entities that `send` sends to: their ids spread over both partitions. */
const IDS = ['a', 'b', 'c', 'd'];

let fn: ScriptedFunction;
beforeAll(async () => {
  fn = await startScriptedFunction(fileScope(), {
    descriptor: ORDERS,
    components: COMPONENTS,
    onCommand: ({ id, input: { text } }) => ({
      reply: { command_id: id, ...replyWith(fn.pack('orders.Done', { text: text ?? '' })) },
    }),
  });
});

interface World {
  readonly input: string;
  readonly replies: string;
  start(config?: Assumed, options?: Parameters<typeof startRuntime>[2]): RunningRuntime;
}

/** A deployment with an input and an output topic, not started yet. */
async function createWorld(t: Scope, given: { input?: string } = {}): Promise<World> {
  const name = deploymentName(t);
  const input = given.input ?? (await createTopic(t, { partitions: PARTITIONS }));
  const replies = await createTopic(t, { partitions: PARTITIONS });
  const url = await createDatabase(t);
  return {
    input,
    replies,
    start: (config = {}, options = {}) =>
      startRuntime(
        t,
        {
          'deployment.name': name,
          'postgres.url': url,
          'function.url': fn.url,
          'kafka.topicCheckMs': 300,
          'topics.subscriptions': [feed(input)],
          'topics.destinations': { replies: [{ topic: replies, service: ORDER_SERVICE, method: 'Place' }] },
          ...config,
        },
        options,
      ),
  };
}

const feed = (topic: string) => ({ topic, service: ORDER_SERVICE, method: 'Place' });
const send = (topic: string, text: string, times = 1) =>
  produce(
    topic,
    Array.from({ length: times }).flatMap(() =>
      IDS.map((id) => ({ key: id, value: fn.pack('orders.Order', { id, text }).value })),
    ),
  );
const textsOf = (records: readonly ReadRecord[]) => records.map(({ value }) => value?.subarray(2).toString());

async function answered(topic: string, count: number): Promise<ReadRecord[]> {
  return await readCommitted(topic, { count });
}

const remove = (topic: string) => withAdmin((admin) => admin.deleteTopics({ topics: [topic] }));

/** Makes a topic again under a name that was deleted. */
async function make(topic: string): Promise<void> {
  await withAdmin(async (admin) => {
    await eventually(`${topic} is gone`, async () => !(await admin.listTopics()).includes(topic));
    await createTopics(admin, [{ topic, numPartitions: PARTITIONS, replicationFactor: 1 }]);
  });
}

describe.concurrent('at the start', () => {
  it('every topic that is missing is named', async (t) => {
    const world = await createWorld(t);
    const runtime = world.start({
      'topics.subscriptions': [feed(world.input), feed('absent-input')],
      'topics.destinations': { replies: [{ topic: 'absent-output', service: ORDER_SERVICE, method: 'Place' }] },
    });

    expect(await runtime.failure).toMatchObject({
      code: 'TOPIC_MISSING',
      message: expect.stringMatching(/^the broker has no topic "absent-input", "absent-output"\. Create them/),
    });
  });

  it('input topics with different numbers of partitions are named with theirs', async (t) => {
    const world = await createWorld(t);
    const other = await createTopic(t, { partitions: PARTITIONS + 1 });
    const runtime = world.start({ 'topics.subscriptions': [feed(world.input), feed(other)] });

    expect(await runtime.failure).toMatchObject({
      code: 'TOPIC_PARTITIONS',
      message: expect.stringContaining(`"${world.input}" has 2, "${other}" has 3`),
    });
  });

  it('an input topic that was grown since the last time is refused', async (t) => {
    const world = await createWorld(t);
    const first = world.start();
    await first.ready();
    await first.stop();
    await withAdmin((admin) => admin.createPartitions({ topicPartitions: [{ topic: world.input, count: 5 }] }));

    const again = world.start();

    expect(await again.failure).toMatchObject({
      code: 'TOPIC_PARTITIONS',
      message: expect.stringContaining(`"${world.input}" has 5`),
    });
  });

  it.for([
    ['reads from', 'commands', (topic: string) => ({ 'topics.subscriptions': [feed(topic)] })],
    ['reads from', 'dead-letters', (topic: string) => ({ 'topics.subscriptions': [feed(topic)] })],
    [
      'writes to',
      'commands',
      (topic: string) => ({
        'topics.destinations': { replies: [{ topic, service: ORDER_SERVICE, method: 'Place' }] },
      }),
    ],
  ] as const)("a route that %s the deployment's own topic for %s is refused", async ([, which, config], t) => {
    const name = deploymentName(t);
    const world = await createWorld(t);

    // By annotation it is the function that names the topic, by configuration the reader refuses some of them itself.
    const run = () => world.start({ 'deployment.name': name, ...config(`${name}-${which}`) });
    const failure = await Promise.resolve()
      .then(run)
      .then(
        ({ failure: ended }) => ended,
        (error: unknown) => error,
      );

    expect(failure).toMatchObject({
      message: expect.stringContaining(which === 'commands' ? 'command' : 'dead letters'),
    });
    expect((failure as { code: string }).code).toMatch(/^(CONFIG_INVALID|FUNCTION_SPEC)$/);
  });
});

describe.concurrent('while it runs', () => {
  it('an input topic that is grown stops it before anything of the new partitions could be passed over', async (t) => {
    const world = await createWorld(t);
    const runtime = world.start();
    await runtime.ready();
    await send(world.input, 'before');
    await answered(world.replies, IDS.length);

    await withAdmin((admin) => admin.createPartitions({ topicPartitions: [{ topic: world.input, count: 4 }] }));

    expect(await runtime.failure).toMatchObject({
      code: 'TOPIC_PARTITIONS',
      message: expect.stringMatching(
        /was changed while the deployment ran with 2: ".*" has 4 now\..*nothing has been read from other partitions/,
      ),
    });
    await runtime.logged('The engine cannot go on', { level: 'fatal', code: 'TOPIC_PARTITIONS' });
    // What it had is finished and released.
    expect(runtime.log.filter(({ msg, clean }) => msg === 'Released a shard' && clean === true)).toHaveLength(
      PARTITIONS,
    );
  });

  it.for(['input', 'replies'] as const)('a topic (%s) that is deleted stops it', async (which, t) => {
    const world = await createWorld(t);
    const runtime = world.start();
    await runtime.ready();

    await remove(world[which]);
    if (which === 'replies') await send(world.input, 'to nowhere');

    expect(await runtime.failure).toMatchObject({
      code: 'TOPIC_MISSING',
      message: expect.stringContaining(`"${world[which]}"`),
    });
    await make(world[which]);
  });

  it('an input topic that is made again stops it: its records are other ones', async (t) => {
    const world = await createWorld(t);
    // Whether the topic is there at this or that moment is not what this is about.
    const runtime = world.start({ 'kafka.topicCheckMs': 600_000 });
    await runtime.ready();
    await send(world.input, 'before', 3);
    await answered(world.replies, 3 * IDS.length);

    await remove(world.input);
    await make(world.input);
    await send(world.input, 'after');

    expect(await runtime.failure).toMatchObject({
      code: 'TOPIC_RECREATED',
      message: expect.stringMatching(new RegExp(`"${world.input}".*deleted and made again`)),
    });
    expect(textsOf(await readCommitted(world.replies, 'end'))).not.toContain('after');
  });

  it('a record that comes twice is passed over, and another one at its offset stops it', async (t) => {
    const world = await createWorld(t);
    const batches: RecordBatch[] = [];
    let bring: (batch: RecordBatch) => void = () => undefined;
    const runtime = world.start(
      {},
      {
        replace: (parts) => ({
          ...parts,
          createConsumer(handlers) {
            bring = handlers.onRecords;
            return parts.createConsumer({
              ...handlers,
              onRecords(batch) {
                if (batch.topic === world.input) batches.push(batch);
                handlers.onRecords(batch);
              },
            });
          },
        }),
      },
    );
    await runtime.ready();
    await send(world.input, 'once');
    await answered(world.replies, IDS.length);

    const last = batches.at(-1) as RecordBatch;
    bring(last);
    expect(runtime.status().totals).toMatchObject({ skipped: last.records.length, records: IDS.length });
    bring({ ...last, records: last.records.map((record) => ({ ...record, timestamp: record.timestamp + 1 })) });

    expect(await runtime.failure).toMatchObject({
      code: 'TOPIC_RECREATED',
      message: expect.stringContaining(`"${world.input}" partition ${last.partition} is another record than it was`),
    });
    expect(await readCommitted(world.replies, 'end')).toHaveLength(IDS.length);
  });
});

describe.concurrent('while it is stopped', () => {
  it.for([
    ['fewer', 1],
    ['more', 5],
  ] as const)('an input topic that is made again and gets %s records is refused at the start', async ([, times], t) => {
    const world = await createWorld(t);
    const first = world.start();
    await first.ready();
    await send(world.input, 'before', 3);
    await answered(world.replies, 3 * IDS.length);
    await first.stop();

    await remove(world.input);
    await make(world.input);
    await send(world.input, 'after', times);
    const again = world.start();

    expect(await again.failure).toMatchObject({
      code: 'TOPIC_RECREATED',
      message: expect.stringContaining(`"${world.input}"`),
    });
    expect(textsOf(await readCommitted(world.replies, 'end'))).not.toContain('after');
  });

  it('a topic that the function does not read any more may be deleted: the others go on where they were', async (t) => {
    const world = await createWorld(t);
    const old = await createTopic(t, { partitions: PARTITIONS });
    const first = world.start({ 'topics.subscriptions': [feed(world.input), feed(old)] });
    await first.ready();
    await send(old, 'old');
    await send(world.input, 'one');
    await answered(world.replies, 2 * IDS.length);
    await first.stop();

    await remove(old);
    const again = world.start();
    await again.ready();
    await send(world.input, 'two');
    const records = await answered(world.replies, 3 * IDS.length);
    await again.stop();

    expect(textsOf(records).filter((text) => text === 'two')).toHaveLength(IDS.length);
    expect(await readCommitted(world.replies, 'end')).toHaveLength(3 * IDS.length);
    expect(again.status().totals.rebuilds).toBe(0);
    await make(old);
  });
});
