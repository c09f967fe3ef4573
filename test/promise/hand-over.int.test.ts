import { randomUUID } from 'node:crypto';
import type { Assigner } from 'kafkajs';
import { expect, it } from 'vitest';
import { createAssigner } from '../../src/topics/assigner.ts';
import { clusterOf } from '../../src/topics/cluster.ts';
import { createDeployment } from '../support/deployment.ts';
import { compileEngine, type EngineProcess } from '../support/engine-process.ts';
import { startFunction } from '../support/function-process.ts';
import { createClient, withAdmin } from '../support/kafka.ts';
import { startLoad } from '../support/load.ts';
import { eventually } from '../support/processes.ts';
import { fileScope } from '../support/scope.ts';

/*
 * Processes of one deployment come and go in good order, under load, and shards move between them. Each case begins
 * with as many processes as the one before it left.
 */
const SHARDS = 4;
/** Generous: what is measured is printed, this only tells a hand-over from a time-out. */
const PAUSE_LIMIT_MS = 5_000;

const file = fileScope();
const program = await compileEngine(file);
const fn = await startFunction(file, { source: 'trouble' });
const deployment = await createDeployment(file, {
  program,
  functionUrl: fn.url,
  config: { 'engine.takeoverGraceMs': 1_000 },
});
const load = await startLoad(file, { topic: deployment.input, seed: 3, perSecond: 150 });
let first = await deployment.start();
let second: EngineProcess;
await owns(first, SHARDS);

async function owns(engine: EngineProcess, count: number): Promise<number[]> {
  const { shards } = await engine.ready((status) => status.shards.length === count);
  return shards.map(({ shard }) => shard);
}

async function epochs(): Promise<ReadonlyMap<number, number>> {
  const rows = await deployment.query<{ shard: number; epoch: string }>('select shard, epoch from shard');
  return new Map(rows.map(({ shard, epoch }) => [shard, Number(epoch)]));
}

/** When the outputs of a shard came, in ms: the output topics have as many partitions as there are shards. */
function outputTimes(shard: number): number[] {
  return [deployment.replies, deployment.events]
    .flatMap((topic) => deployment.follower.of(topic))
    .filter(({ partition }) => partition === shard)
    .map(({ timestamp }) => timestamp)
    .sort((a, b) => a - b);
}

/** The longest time, in ms, that nothing came out of a shard since `since`. */
function pauseOf(shard: number, since: number): number {
  const times = outputTimes(shard);
  const begin = times.findLastIndex((time) => time <= since);
  expect(begin, `shard ${shard} gave outputs before the hand-over`).toBeGreaterThanOrEqual(0);
  expect(times.at(-1), `shard ${shard} gave outputs after the hand-over`).toBeGreaterThan(since);
  return Math.max(...times.slice(begin + 1).map((time, i) => time - (times[begin + i] ?? time)));
}

/**
 * `change` moves shards to other processes and answers which: those have a new owner each, all others the one that they
 * had, and nobody was fenced or had to be built up again.
 */
async function handOver(title: string, change: () => Promise<readonly number[]>): Promise<void> {
  const from = Date.now();
  const all = Array.from({ length: SHARDS }, (_, shard) => shard);
  await eventually('every shard gives outputs', () => all.every((shard) => (outputTimes(shard).at(-1) ?? 0) >= from));
  const before = await epochs();
  const since = Date.now();
  const moved = await change();
  await load.more(100);
  const sent = await load.pause();
  await deployment.expectExact(sent);
  const pauses = moved.map((shard) => `shard ${shard} for ${pauseOf(shard, since)} ms`);
  process.stdout.write(`${title}: no output of ${pauses.join(', ')}\n`);
  for (const shard of moved) expect(pauseOf(shard, since)).toBeLessThan(PAUSE_LIMIT_MS);
  const expected = [...before].map(([shard, epoch]) => [shard, moved.includes(shard) ? epoch + 1 : epoch]);
  expect(await epochs()).toEqual(new Map(expected as [number, number][]));
  for (const engine of [first, second]) {
    expect(engine.rebuilds, engine.output()).toEqual([]);
    const released = engine.log.filter(({ msg }) => msg === 'Released a shard');
    expect(released.filter(({ clean }) => clean !== true)).toEqual([]);
    const opened = engine.log.filter(({ msg }) => msg === 'Opened a shard');
    expect(opened.filter(({ fenced, emittedAgain }) => fenced !== 0 || emittedAgain !== 0)).toEqual([]);
  }
  load.resume();
}

interface Coordinator {
  joinGroup(request: object): Promise<{ readonly generationId: number; readonly memberId: string }>;
  syncGroup(request: object): Promise<unknown>;
  leaveGroup(request: { groupId: string; memberId: string }): Promise<void>;
}

/** A member of the deployment's group that asks for shards, and says nothing but what it is told to: not even heartbeats. */
async function member() {
  const { name: groupId } = deployment;
  const cluster = clusterOf<Coordinator>(createClient());
  file.onTestFinished(() => cluster.disconnect());
  await cluster.connect();
  await cluster.refreshMetadata();
  const coordinator = await cluster.findGroupCoordinator({ groupId });
  const assigner = createAssigner({ shards: SHARDS, process: randomUUID(), owned: () => [] });
  const { protocol } = (assigner as () => Assigner)();
  let memberId = '';
  return {
    async join() {
      const sessionTimeout = 30_000;
      const joined = await coordinator.joinGroup({
        groupId,
        sessionTimeout,
        rebalanceTimeout: sessionTimeout,
        groupProtocols: [protocol({ topics: [deployment.input] })],
      });
      memberId = joined.memberId;
      await coordinator.syncGroup({ groupId, memberId, generationId: joined.generationId, groupAssignment: [] });
    },
    leave: () => coordinator.leaveGroup({ groupId, memberId }),
  };
}

async function groupState(): Promise<string | undefined> {
  const { groups } = await withAdmin((admin) => admin.describeGroups([deployment.name]));
  return groups[0]?.state;
}

it('a process that joins is given half of the shards, and the other half stays open where it is', async () => {
  await handOver('one process joins', async () => {
    second = await deployment.start();
    await owns(first, SHARDS / 2);
    return owns(second, SHARDS / 2);
  });
});

it('each process tells where all shards are, by the journal and by the group', async () => {
  const ids = new Map<number, string>();
  for (const engine of [first, second]) {
    const { processId, shards } = await engine.ready();
    for (const { shard } of shards) ids.set(shard, processId);
  }
  for (const engine of [first, second]) {
    const mine = (await engine.status()).processId;
    const places = await engine.places();
    expect(places).toHaveLength(SHARDS);
    for (const { shard, owners, member, here, reason } of places) {
      expect(owners).toEqual([ids.get(shard)]);
      expect(member?.host).toBe('127.0.0.1');
      expect(here).toBe(owners[0] === mine);
      expect(reason).toBe(here ? 'open here' : `opened by ${owners[0]}; assigned to the member at 127.0.0.1`);
    }
  }
});

it('a process that is told to stop hands its shards over, and the others stay open where they are', async () => {
  await handOver('one process stops', async () => {
    const moved = await owns(second, SHARDS / 2);
    expect(await second.stop()).toBe(0);
    await owns(first, SHARDS);
    return moved;
  });
});

it('all shards move when the second process comes and the first one goes', async () => {
  await handOver('one process joins, the other stops', async () => {
    second = await deployment.start();
    const later = await owns(first, SHARDS / 2);
    const sooner = await owns(second, SHARDS / 2);
    expect(await first.stop()).toBe(0);
    await owns(second, SHARDS);
    return [...sooner, ...later];
  });
  [first, second] = [second, first];
});

it('records that the consumer brings again are carried out once', async () => {
  await handOver('one process comes whose consumer brings all records twice', async () => {
    second = await deployment.start({ bringsTwice: true });
    await owns(first, SHARDS / 2);
    return owns(second, SHARDS / 2);
  });
  expect((await second.status()).totals.skipped).toBeGreaterThan(0);
  await handOver('it stops', async () => {
    const moved = await owns(second, SHARDS / 2);
    expect(await second.stop()).toBe(0);
    await owns(first, SHARDS);
    return moved;
  });
});

it('shards that stay are served on while the group waits for a member that does not answer', async () => {
  const silent = await member();
  const other = await member();
  const joined = silent.join();
  const kept = await owns(first, SHARDS / 2);
  await joined;
  // The group does not end this rebalance before the silent one has come, or its session has ended.
  const waiting = other.join();
  waiting.catch(() => undefined);
  await eventually('the group waits', async () => (await groupState()) === 'PreparingRebalance');
  await load.more(200);
  const since = Date.now();
  await eventually('they give outputs', () => kept.every((shard) => (outputTimes(shard).at(-1) ?? 0) > since));
  expect(await groupState()).toBe('PreparingRebalance');
  await silent.leave();
  await waiting;
  await other.leave();
  await owns(first, SHARDS);
});

it('shards of a process that was killed are opened without the grace, which is for those who can release them', async () => {
  const [patient, graceMs] = [first, 600_000];
  first = await deployment.start({ config: { 'engine.takeoverGraceMs': graceMs } });
  await owns(first, SHARDS / 2);
  expect(await patient.stop()).toBe(0);
  await owns(first, SHARDS);
  const doomed = await deployment.start();
  await owns(doomed, SHARDS / 2);
  doomed.kill('SIGKILL');
  expect(await doomed.exited).toBe('SIGKILL');
  // Far sooner than the grace: `ready` does not wait so long.
  await owns(first, SHARDS);
  await load.more(20);
  await deployment.expectExact(await load.pause());
  load.resume();
});

it('the last process that stops leaves everything exact, journaled, committed and released', async () => {
  await deployment.expectExact(await load.pause());
  expect(await first.stop()).toBe(0);
  await deployment.expectExactAtRest();
});
