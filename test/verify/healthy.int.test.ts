import { describe, expect, it } from 'vitest';
import { judge } from '../../src/commands/verify.ts';
import { createDeployment } from '../support/deployment.ts';
import type { Fault } from '../support/engine-order.ts';
import { compileEngine } from '../support/engine-process.ts';
import { startFunction } from '../support/function-process.ts';
import { startLoad } from '../support/load.ts';
import { fileScope, type Scope } from '../support/scope.ts';
import { startRuntime } from '../support/start-runtime.ts';
import { checkOf, configOf, createOffice, faultsOf, type Office, workOn } from './office.ts';

const file = fileScope();
const fn = await startFunction(file, { source: 'trouble' });

/** An office that has worked and stopped. */
async function worked(t: Scope, config: Parameters<typeof createOffice>[2] = {}): Promise<Office> {
  const office = await createOffice(t, fn, config);
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

  it('for what is older than the outbox keeps: events by the journal, all else by the headers', async (t) => {
    const office = await worked(t, { 'journal.outboxRetentionChunks': 2 });
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
