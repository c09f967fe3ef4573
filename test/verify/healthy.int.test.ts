import type { JsonValue } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { encodeOutbox } from '../../src/codec/outbox.ts';
import { putBack } from '../../src/codec/put-back.ts';
import { judge } from '../../src/commands/verify.ts';
import { partitionFor } from '../../src/topics/partition.ts';
import { createDeployment } from '../support/deployment.ts';
import { createDoorClient } from '../support/door-client.ts';
import type { Fault } from '../support/engine-order.ts';
import { compileEngine } from '../support/engine-process.ts';
import { startFunction } from '../support/function-process.ts';
import { type ReadRecord, readCommitted } from '../support/kafka.ts';
import { startLoad } from '../support/load.ts';
import { eventually } from '../support/processes.ts';
import { fileScope, type Scope } from '../support/scope.ts';
import { startRuntime } from '../support/start-runtime.ts';
import { checkOf, configOf, createOffice, faultsOf, type Office, workOn } from './office.ts';

const file = fileScope();
const fn = await startFunction(file, { source: 'trouble' });

/** An office that has worked and stopped. */
async function worked(
  t: Scope,
  config: Parameters<typeof createOffice>[2] = {},
  how: Parameters<typeof createOffice>[3] = {},
): Promise<Office> {
  const office = await createOffice(t, fn, config, how);
  const runtime = startRuntime(t, office.config);
  await runtime.ready();
  await workOn(office, 8);
  await office.atRest();
  await runtime.stop();
  return office;
}

describe('verify holds', () => {
  it('for strays, dead letters, forwards, side effects, values and snapshots, byte for byte', async (t) => {
    const office = await worked(t);
    const report = await office.verify();
    expect(faultsOf(report)).toEqual([]);
    expect(report.held).toBe(true);
    const { counts } = checkOf(report, 'outputs');
    expect(counts).toMatchObject({ byOutbox: counts.records, byEvents: 0, byHeaders: 0, inFlight: 0 });
    expect(checkOf(report, 'inputs').counts).toMatchObject({ shards: 3, untraced: 8, chunks: counts.retainedChunks });
    expect(checkOf(report, 'replay').counts.compared).toBeGreaterThan(5);
  });

  it('with the same counts when memory is short and it reads everything several times', async (t) => {
    const office = await worked(t);
    const [once, often] = [await office.verify(), await office.verify({ passIdentities: 200 })];
    expect(faultsOf(often)).toEqual([]);
    expect(often.checks).toEqual(once.checks);
  });

  it('for what is older than the outbox keeps: events by the journal, all else by the headers, in whatever form', async (t) => {
    const office = await worked(
      t,
      { 'journal.outboxRetentionChunks': 2, 'kafka.compression': 'lz4' },
      { replies: 'none', events: 'structured' },
    );
    const events = await readCommitted(office.topics.added, 'end');
    expect(events.map(({ headers, value }) => [headers['content-type'], JSON.parse(String(value)).id])).toEqual(
      events.map(({ headers }) => ['application/cloudevents+json', headers['stateferry-id']]),
    );
    expect(events.length).toBeGreaterThan(100);
    const report = await office.verify();
    expect(faultsOf(report)).toEqual([]);
    const { counts, reach } = checkOf(report, 'outputs');
    expect(counts.retainedChunks).toBeLessThan(13);
    expect(counts.byOutbox).toBeGreaterThan(0);
    expect(counts.byEvents).toBeGreaterThan(100);
    expect(counts.byHeaders).toBeGreaterThan(100);
    const { byHeaders = 0, byEvents = 0, byOutbox = 0 } = counts;
    expect(byHeaders + byEvents + byOutbox).toBe(counts.records);
    expect(reach.join()).toContain('journal.outboxRetentionChunks');
  });

  it('for commands from the doors, what they are answered, and what of them fails', async (t) => {
    const office = await createOffice(t, fn);
    const runtime = startRuntime(t, { ...office.config, 'doors.enabled': true, 'doors.port': 0 });
    await runtime.ready();
    const client = await createDoorClient(t, { at: await runtime.doors(), source: 'trouble' });
    const call = (method: string, input: JsonValue) => client.call(`trouble.LedgerService/${method}`, input);
    await Promise.all([
      workOn(office, 2),
      ...Array.from({ length: 10 }, (_, i) => call('Add', { id: `door-${i % 3}`, amount: i })),
      call('AddWithEffects', { id: 'door-1', amount: 1, to: ['door-2', 'door-7'], synchronous: true }),
      call('AddAndForward', { id: 'door-1', amount: 1, to: 'door-8' }),
      expect(call('AddThenFail', { id: 'door-1', amount: 1, status: 3 })).rejects.toThrow('failed as told'),
      expect(call('AddThenThrow', { id: 'door-4', amount: 1 })).rejects.toThrow('thrown as told'),
    ]);
    await office.atRest();
    const running = await office.verify();
    expect(faultsOf(running)).toEqual([]);
    await runtime.stop();
    const report = await office.verify();
    expect(faultsOf(report)).toEqual([]);
    // Each of the 14 is input, and its answer is output.
    expect(checkOf(report, 'outputs').counts).toMatchObject({ fromDoors: 14, byHeaders: 0, foreign: 0 });
  });

  it('for what operators do: paused entities, and dead letters that are tried again, more than once', async (t) => {
    const office = await createOffice(t, fn);
    const runtime = startRuntime(t, office.config);
    await runtime.ready();
    const done = async (kind: string, shard: number, fields: Readonly<Record<string, unknown>>) => {
      const names = Object.keys(fields);
      const [{ id } = { id: -1 }] = await office.query<{ id: number }>(
        `insert into operation (generation, shard, kind, reason, asked_by${names.map((name) => `, ${name}`).join('')})
         values (1, $1, $2, 'a test', 'a test'${names.map((_, n) => `, $${n + 3}`).join('')}) returning id`,
        [shard, kind, ...Object.values(fields)],
      );
      const isDone = async () =>
        (await office.query('select 1 from operation where id = $1 and done_at is not null', [id])).length > 0;
      await eventually(`${kind} is done`, isDone);
    };
    await workOn(office, 1);
    await office.atRest();
    const l1 = { entity_type: 'ledgers', entity_id: 'l1' };
    const home = (key: string) => partitionFor(Buffer.from(key), office.partitions);
    await done('pause', home('l1'), l1);
    await workOn(office, 2);
    await eventually('l1 is parked', async () => (await office.query('select 1 from parked')).length > 5);
    const parked = await office.verify();
    expect(faultsOf(parked)).toEqual([]);
    await done('resume', home('l1'), l1);
    await eventually('l1 goes on', async () => (await office.query('select 1 from entity_control')).length === 0);
    await workOn(office, 1);

    const letters = await readCommitted(office.deadLetters, 'end');
    const letter = letters.find(({ headers }) => headers.ce_type === 'trouble.AddThenFailCommand') as ReadRecord;
    const place = letter.headers;
    const record = {
      topic: place['stateferry-topic'] as string,
      partition: Number(place['stateferry-partition']),
      offset: BigInt(place['stateferry-offset'] ?? 0),
      timestamp: letter.timestamp,
      key: letter.key,
      value: letter.value,
      headers: { ce_type: place.ce_type, 'content-type': place['content-type'] },
    };
    const commandId = `${record.topic}/${record.partition}/${record.offset}`;
    const again = putBack(record, { topic: office.commands, partition: home('l7'), commandId });
    for (let n = 0; n < 2; n++) await done('retry', home('l7'), { record: Buffer.from(encodeOutbox([again])) });
    await eventually('it has failed three times', async () => {
      const all = await readCommitted(office.deadLetters, 'end');
      return all.filter(({ headers }) => headers['stateferry-offset'] === place['stateferry-offset']).length >= 3;
    });
    await office.atRest();
    const report = await office.verify();
    expect(faultsOf(report)).toEqual([]);
    expect(checkOf(report, 'outputs').counts).toMatchObject({ putBack: 1 });
  });

  it('with a probe in the place of the state', async (t) => {
    const office = await worked(t);
    const report = await office.verify({ probes: ['Get'] });
    expect(faultsOf(report)).toEqual([]);
    expect(checkOf(report, 'replay').reach.join()).toContain('the answer to trouble.LedgerService/Get');
  });

  it('while the deployment runs under load, and after it was killed at several points', async (t) => {
    const program = await compileEngine(t);
    const deployment = await createDeployment(t, { program, functionUrl: fn.url });
    const load = await startLoad(t, { topic: deployment.input, seed: 7, perSecond: 200 });
    const look = () =>
      judge(
        configOf(deployment.config),
        { sample: 20, probes: [], shared: [], patienceMs: 20_000 },
        { err: { write: () => undefined }, signal: new AbortController().signal },
      );
    let engine = await deployment.start();
    await engine.ready(({ shards }) => shards.length === 4);
    await load.more(200);
    expect(faultsOf(await look())).toEqual([]);
    for (const point of ['journaled', 'offsets', 'commit-sent'] satisfies Fault['point'][]) {
      await engine.arm({ point, nth: 3, signal: 'SIGKILL' });
      await engine.reached(point);
      await engine.exited;
      engine = await deployment.start();
      await engine.ready(({ shards }) => shards.length === 4);
      await load.more(50);
      const report = await look();
      expect(faultsOf(report)).toEqual([]);
      expect(report.held).toBe(true);
    }
    await deployment.expectExact(await load.pause());
    await engine.stop();
    const report = await look();
    expect(faultsOf(report)).toEqual([]);
    expect(checkOf(report, 'outputs').counts.inFlight).toBe(0);
  }, 120_000);

  it('with a journaled chunk that waits for Kafka, and says so', async (t) => {
    const program = await compileEngine(t);
    const deployment = await createDeployment(t, { program, functionUrl: fn.url });
    const load = await startLoad(t, { topic: deployment.input, seed: 8, perSecond: 200 });
    const engine = await deployment.start();
    await engine.ready(({ shards }) => shards.length === 4);
    await load.more(100);
    await engine.arm({ point: 'journaled', nth: 3, signal: 'SIGKILL' });
    await engine.reached('journaled');
    await load.pause();
    const report = await judge(
      configOf(deployment.config),
      { sample: 20, probes: [], shared: [], patienceMs: 1_000 },
      { err: { write: () => undefined }, signal: new AbortController().signal },
    );
    // What the killed process had begun may be open still; nothing else is wrong.
    expect(faultsOf(report).filter((fault) => !fault.startsWith('transactions: '))).toEqual([]);
    expect(checkOf(report, 'inputs').reach.join()).toContain('wait for Kafka');
  });
});
