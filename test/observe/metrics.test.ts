import { register } from 'prom-client';
import { expect, test } from 'vitest';
import { createMetrics } from '../../src/observe/metrics.ts';
import { metricsPage } from '../../src/observe/metrics-page.ts';
import { createSignals } from '../../src/observe/signals.ts';
import type { Status } from '../../src/observe/status.ts';
import { createTally } from '../../src/observe/tally.ts';
import { packagePath } from '../../src/package-path.ts';
import { aStatus } from './a-status.ts';

function metrics(status: () => Status = aStatus, processMetrics = false) {
  const hub = createSignals();
  const registry = createMetrics({ hub, tally: createTally(hub), status, processMetrics });
  return { registry, signals: hub.signals };
}

const SUFFIX: Record<string, RegExp> = {
  counter: /_total$/,
  histogram: /_(seconds|records|events|chunks)$/,
  gauge: /_(up|shards|entities|records|events|bytes|seconds)$/,
};

test('every metric has a help sentence, and a name with prefix and unit', () => {
  const all = metrics().registry.getMetricsAsArray();
  expect(all.length).toBeGreaterThan(20);
  for (const { name, help, type } of all) {
    expect(name).toMatch(/^stateferry_[a-z]+(_[a-z]+)*$/);
    expect(name).toMatch(SUFFIX[String(type)] as RegExp);
    expect(help).toMatch(/^[A-Z0-9].+\.$/);
  }
});

test('docs/metrics.md is what the registry says', async () => {
  await expect(metricsPage(metrics().registry)).toMatchFileSnapshot(packagePath('docs/metrics.md'));
});

test('counters show what was signalled, and a second scrape shows the same', async () => {
  const { registry, signals } = metrics();
  signals.recordsIn('in', 3);
  signals.recordsIn('in', 4);
  signals.deadLetters('RECORD_OVERSIZE');
  signals.strays(5);
  signals.fed('shop.Watch', 6);
  for (let scrape = 0; scrape < 2; scrape++) {
    const text = await registry.metrics();
    expect(text).toContain('stateferry_records_in_total{topic="in"} 7\n');
    expect(text).toContain('stateferry_dead_letters_total{code="RECORD_OVERSIZE"} 1\n');
    expect(text).toContain('stateferry_strays_total 5\n');
    expect(text).toContain('stateferry_fed_total{feed="shop.Watch"} 6\n');
  }
});

test('histograms show durations in seconds and sizes', async () => {
  const { registry, signals } = metrics();
  signals.chunkJournaled({ shard: 0, records: 100, events: 40, outputs: 90, ms: 4 });
  signals.transactionCommitted({ chunks: 3, records: 300, ms: 20 });
  signals.registryAsked({ request: 'schema', outcome: 'failed', ms: 5_000 });
  const text = await registry.metrics();
  expect(text).toContain('stateferry_journal_duration_seconds_sum 0.004\n');
  expect(text).toContain('stateferry_journal_duration_seconds_bucket{le="0.005"} 1\n');
  expect(text).toContain('stateferry_chunk_size_records_sum 100\n');
  expect(text).toContain('stateferry_chunk_size_events_sum 40\n');
  expect(text).toContain('stateferry_transaction_duration_seconds_sum 0.02\n');
  expect(text).toContain('stateferry_transaction_size_chunks_sum 3\n');
  expect(text).toContain('stateferry_transaction_size_records_sum 300\n');
  expect(text).toContain('stateferry_events_total 40\n');
  expect(text).toContain('stateferry_registry_duration_seconds_sum{request="schema",outcome="failed"} 5\n');
});

test('gauges show the status at the moment of the scrape; a shard that left leaves nothing behind', async () => {
  let status = aStatus();
  let asked = 0;
  const { registry } = metrics(() => {
    asked += 1;
    return status;
  });
  const before = await registry.metrics();
  expect(asked).toBe(1);
  expect(before).toContain('stateferry_engine_up 1\n');
  expect(before).toContain('stateferry_function_up 1\n');
  expect(before).toContain('stateferry_state_shards{state="running"} 1\n');
  expect(before).toContain('stateferry_state_shards{state="recovering"} 1\n');
  expect(before).toContain('stateferry_state_shards{state="halted"} 0\n');
  expect(before).toContain('stateferry_active_entities 7\n');
  expect(before).toContain('stateferry_in_flight_records 5\n');
  expect(before).toContain('stateferry_in_flight_bytes 500\n');
  expect(before).toContain('stateferry_waiting_records 2\n');
  expect(before).toContain('stateferry_waiting_bytes 200\n');
  expect(before).toContain('stateferry_lag_records{topic="cart-commands",shard="12"} 1\n');
  expect(before).toContain('stateferry_feed_lag_events{feed="shop.Watch",entity_type="carts",shard="0"} 50\n');
  expect(before).not.toContain('refunds');

  expect(before).toContain('stateferry_schema_waiting_shards 0\n');
  expect(before).toContain('stateferry_schema_waiting_seconds 0\n');

  const [first, second] = status.shards;
  const now = Date.now();
  const waiting = [
    { ...first, schemaAwaitedSince: now - 60_000 },
    { ...second, schemaAwaitedSince: now - 90_000 },
  ];
  status = { ...status, shards: waiting as Status['shards'] };
  const meanwhile = await registry.metrics();
  expect(meanwhile).toContain('stateferry_schema_waiting_shards 2\n');
  expect(Number(/^stateferry_schema_waiting_seconds (.*)$/m.exec(meanwhile)?.[1])).toBeCloseTo(90, -1);

  status = { ...status, state: 'draining', function: { ...status.function, up: false }, shards: [] };
  const after = await registry.metrics();
  expect(after).toContain('stateferry_engine_up 0\n');
  expect(after).toContain('stateferry_function_up 0\n');
  expect(after).toContain('stateferry_in_flight_records 0\n');
  expect(after).not.toContain('stateferry_lag_records{');
});

test('two runtimes of one process count apart and share the process metrics', async () => {
  const one = metrics(aStatus, true);
  const two = metrics(aStatus, true);
  one.signals.strays(1);
  expect(await one.registry.metrics()).toContain('stateferry_strays_total 1\n');
  expect(await two.registry.metrics()).toContain('stateferry_strays_total 0\n');
  expect(await two.registry.metrics()).toContain('nodejs_eventloop_lag_seconds');
});

test('the global registry stays empty', () => {
  metrics(aStatus, true);
  expect(register.getMetricsAsArray()).toEqual([]);
});
