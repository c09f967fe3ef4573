import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { decodeOutbox } from '../../src/codec/outbox.ts';
import { startStack } from '../../src/local/stack.ts';
import { fenceProducers } from '../../src/topics/fence.ts';
import { endTransactions, openOffsetTransactions, openTransactions } from '../../src/topics/open-transactions.ts';
import { groupOffsets } from '../../src/topics/stable-offsets.ts';
import { createDeployment, type Deployment } from '../support/deployment.ts';
import { compileEngine } from '../support/engine-process.ts';
import { startFunction } from '../support/function-process.ts';
import { leaveHanging } from '../support/hanging.ts';
import { createClient } from '../support/kafka.ts';
import { startLoad } from '../support/load.ts';
import { createDatabase } from '../support/postgres.ts';
import { fileScope, type Scope } from '../support/scope.ts';

/*
 * Kafka may complete a transaction without any marker (docs/architecture.md, "Transactions that hang"). Here that state is
 * made by hand, on a Kafka of the file's own that takes transactional writes which were never announced.
 */
const file = fileScope();
const program = await compileEngine(file);
const { brokers, stop } = await startStack({
  databaseUrl: 'postgres://unused',
  kafkaConfig: { 'transaction.partition.verification.enable': 'false' },
  log: () => undefined,
});
file.onTestFinished(stop);
const fn = await startFunction(file, { source: 'trouble' });
const kafka = createClient(brokers);

interface Row {
  readonly shard: number;
  readonly chunk: number;
  readonly positions: Record<string, string>;
  readonly records: Buffer;
}

/** A deployment whose only process died with chunks journaled and not emitted, and these in a transaction that hangs. */
async function left(t: Scope) {
  const deployment = await createDeployment(t, {
    program,
    functionUrl: fn.url,
    ground: { brokers, databaseUrl: await createDatabase(t) },
  });
  const load = await startLoad(t, { topic: deployment.input, seed: 3, perSecond: 150, brokers });
  const process = await deployment.start({ fault: { point: 'journaled', nth: 15, signal: 'SIGKILL' } });
  await process.reached('journaled');
  await process.exited;
  const id = await ownerOf(deployment);
  await fenceProducers(kafka, [id], 60_000);
  const offsets = await committed(deployment);
  const rows = (
    await deployment.query<Row>('select shard, chunk::int, positions, records from outbox order by shard, chunk')
  ).filter(({ shard, positions }) =>
    Object.entries(positions).some(([topic, offset]) => BigInt(offset) > (offsets.get(topic)?.get(shard) ?? -1n)),
  );
  const outputs = new Map<string, ReturnType<typeof decodeOutbox>>();
  for (const output of rows.flatMap(({ records }) => decodeOutbox(records))) {
    const at = `${output.topic} ${output.partition}`;
    outputs.set(at, [...(outputs.get(at) ?? []), output]);
  }
  expect(outputs.size).toBeGreaterThan(1);
  const last = new Map(rows.map((row) => [row.shard, row]));
  await leaveHanging(kafka, id, {
    outputs: [...outputs.values()].map((messages) => ({
      topic: messages[0]?.topic ?? '',
      partition: messages[0]?.partition ?? 0,
      messages: messages.map(({ key, value, headers }) => ({
        key: key && Buffer.from(key),
        value: value && Buffer.from(value),
        headers: Object.fromEntries(headers.map(([name, held]) => [name, Buffer.from(held as Uint8Array)])),
      })),
    })),
    groupId: deployment.name,
    offsets: [...last.values()].flatMap(({ shard, positions }) =>
      Object.entries(positions).map(([topic, offset]) => ({ topic, partition: shard, offset: BigInt(offset) })),
    ),
  });
  return { deployment, load, id, last: [...last.values()] };
}

type Hung = Awaited<ReturnType<typeof left>>;

/**
 * What is left where Kafka has answered the commit, so that the journal takes the chunks for emitted, and lost it: the fence has aborted the
 * offsets and, on some partitions, the outputs. Answers what is open on the output topics.
 */
async function loseCommit({ deployment, last }: Hung) {
  await endOffsets(deployment, 'abort');
  for (const { shard, chunk } of last)
    await deployment.query('update shard set emitted = $2 where shard = $1', [shard, chunk]);
  const topics = [deployment.replies, deployment.events];
  const open = await openTransactions(kafka, new Map(topics.map((topic) => [topic, [0, 1, 2, 3]])));
  expect(open.length).toBeGreaterThan(2);
  return open;
}

async function ownerOf(deployment: Deployment): Promise<string> {
  const owners = await deployment.query<{ owner: string }>('select distinct unnest(owners) as owner from shard');
  expect(owners).toHaveLength(1);
  return owners[0]?.owner ?? '';
}

async function committed({ name, input }: Deployment) {
  const asked = { topics: [input, `${name}-commands`], partitions: [0, 1, 2, 3], stable: true };
  const { offsets, pending } = await groupOffsets(kafka, name, asked);
  expect([...pending]).toEqual([]);
  return offsets;
}

/** Writes the markers on the group's offsets, and none on the outputs. */
async function endOffsets({ name, replies, events }: Deployment, result: 'commit' | 'abort'): Promise<void> {
  const open = await openTransactions(kafka, new Map([replies, events].map((topic) => [topic, [0, 1, 2, 3]])));
  const producers = new Set(open.map(({ producerId }) => producerId));
  const offsets = await openOffsetTransactions(kafka, name);
  await endTransactions(
    kafka,
    offsets.filter(({ producerId }) => producers.has(producerId)),
    result,
  );
}

it.each([
  { what: 'of which nobody has seen anything', ending: 'abort', before: async () => undefined },
  {
    what: 'of which some can be seen',
    ending: 'commit',
    async before({ deployment, id }: Hung) {
      const topics = [deployment.replies, deployment.events];
      const open = await openTransactions(kafka, new Map(topics.map((topic) => [topic, [0, 1, 2, 3]])));
      expect(open.length, id).toBeGreaterThan(1);
      await endTransactions(kafka, open.slice(0, 1), 'commit');
    },
  },
  {
    what: 'whose commit the journal knows',
    ending: 'commit',
    async before({ deployment, last: [shard] }: Hung) {
      // Of one of its shards.
      await deployment.query('update shard set emitted = $2 where shard = $1', [shard?.shard, shard?.chunk]);
    },
  },
  {
    what: 'that a clean release knows of',
    ending: 'commit',
    async before({ deployment, last }: Hung) {
      for (const { shard, chunk, positions } of last) {
        await deployment.query(
          'update shard set emitted = $2, released = $3, released_epoch = epoch where shard = $1',
          [shard, chunk, positions],
        );
      }
      await deployment.query(`update shard set owners = '{}'`);
    },
  },
  {
    what: 'whose offsets alone got their marker, of a commit',
    ending: 'commit',
    before: ({ deployment }: Hung) => endOffsets(deployment, 'commit'),
  },
  {
    what: 'whose offsets alone got their marker, of an abort',
    ending: 'abort',
    before: ({ deployment }: Hung) => endOffsets(deployment, 'abort'),
  },
  {
    what: 'lost after its answer, and aborted in part',
    ending: 'abort',
    before: async (hung: Hung) => endTransactions(kafka, (await loseCommit(hung)).slice(0, 1), 'abort'),
  },
  {
    what: 'lost after its answer, aborted in part and there in part',
    ending: 'abort',
    async before(hung: Hung) {
      const open = await loseCommit(hung);
      await endTransactions(kafka, open.slice(0, 1), 'abort');
      await endTransactions(kafka, open.slice(1, 2), 'commit');
    },
  },
  {
    what: 'whose offsets got their marker, of a shard that was released cleanly',
    ending: 'commit',
    async before({ deployment, last }: Hung) {
      await endOffsets(deployment, 'commit');
      for (const { shard, chunk, positions } of last) {
        await deployment.query(
          'update shard set emitted = $2, released = $3, released_epoch = epoch where shard = $1',
          [shard, chunk, positions],
        );
      }
      await deployment.query(`update shard set owners = '{}'`);
    },
  },
])('ends a transaction $what with $ending, and every output is there once', async ({ ending, before }) => {
  const hung = await left(file);
  const { deployment, load, id } = hung;
  await before(hung);

  const engine = await deployment.start();
  await engine.ready(({ shards }) => shards.length === 4);
  await load.more(100);
  await deployment.expectExact(await load.pause());
  expect(engine.log.filter(({ ending }) => ending !== undefined)).toMatchObject([
    { level: 'warn', transactionalId: id, ending },
  ]);
  expect(await engine.stop()).toBe(0);
  await deployment.expectExactAtRest();
});

it('stops where a transaction hangs that is none of the deployment’s, and says which group and partitions', async (t) => {
  const deployment = await createDeployment(t, {
    program,
    functionUrl: fn.url,
    ground: { brokers, databaseUrl: await createDatabase(t) },
  });
  await leaveHanging(kafka, `stranger-${randomUUID()}`, {
    outputs: [],
    groupId: deployment.name,
    offsets: [{ topic: deployment.input, partition: 2, offset: 1n }],
  });
  const engine = await deployment.start();
  expect(await engine.exited).not.toBe(0);
  expect(engine.output()).toContain('TRANSACTION_HANGING');
  expect(engine.output()).toContain(`${deployment.input}-2`);
});
