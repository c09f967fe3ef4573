import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { SignalHub } from './signals.ts';
import { type Load, SHARD_STATES, type Status } from './status.ts';
import type { Counts, Tally } from './tally.ts';

/** From half a millisecond, the floor of a local commit, to the timeouts. */
const SECONDS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const SIZES = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000];

/**
 * Stateferry's metrics in a registry of their own. Counters read the tally and gauges the status when they are
 * scraped; only the histograms listen to the signals. With `processMetrics` the registry also holds what prom-client
 * knows of every Node process (`process_*`, `nodejs_*`).
 */
export function createMetrics(options: {
  hub: SignalHub;
  tally: Tally;
  status: () => Status;
  processMetrics: boolean;
}): Registry {
  const registry = new Registry();
  addCounters(registry, options.tally);
  addHistograms(registry, options.hub);
  addGauges(registry, options.status);
  return options.processMetrics ? Registry.merge([registry, processRegistry()]) : registry;
}

let sharedProcessRegistry: Registry | undefined;

/** One for all runtimes of a process: what it measures is the process, and its observers cannot be taken off again. */
function processRegistry(): Registry {
  if (sharedProcessRegistry === undefined) {
    sharedProcessRegistry = new Registry();
    collectDefaultMetrics({ register: sharedProcessRegistry });
  }
  return sharedProcessRegistry;
}

function addCounters(registry: Registry, tally: Tally): void {
  const registers = [registry];
  const plain = (name: string, help: string, read: () => number) =>
    new Counter({
      name: `stateferry_${name}_total`,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  const labelled = (name: string, label: string, help: string, counts: Counts) =>
    new Counter({
      name: `stateferry_${name}_total`,
      help,
      labelNames: [label],
      registers,
      collect() {
        this.reset();
        for (const [value, count] of counts) this.inc({ [label]: value }, count);
      },
    });

  labelled('records_in', 'topic', 'Input records taken from a topic.', tally.recordsIn);
  labelled('commands', 'component', 'Commands that a component has answered or failed.', tally.commands);
  plain('events', 'State events written to the journal.', () => tally.events);
  labelled('outputs', 'topic', 'Records that are on an output topic, in a committed transaction.', tally.outputs);
  labelled(
    'dead_letters',
    'code',
    'Records and commands that went to the dead-letter topic, by error code.',
    tally.deadLetters,
  );
  plain('strays', 'Records re-published to the shard that their entity belongs to.', () => tally.strays);
  plain('retries', 'Commands that were tried again.', () => tally.retries);
  plain('parked', 'Commands that were parked, since their entity is paused.', () => tally.parked);
  plain(
    'duplicates',
    'Commands passed over, as one with their idempotency key took effect before.',
    () => tally.duplicates,
  );
  labelled('fed', 'feed', 'Events and changes of values that a feed was given, by its name.', tally.fed);
  plain('skipped_records', 'Records delivered again that were in the journal already.', () => tally.skipped);
  labelled(
    'rebuilds',
    'reason',
    'Times that all shards were opened again under a new id, by error code.',
    tally.rebuilds,
  );
  labelled(
    'hanging_transactions',
    'ended',
    'Transactions of earlier owners that Kafka had left hanging and that were ended here, by how: commit or abort.',
    tally.hangingEnded,
  );
  labelled(
    'retention_removed_rows',
    'kind',
    'What retention has removed here: events, or chunks whose inputs or outputs they were.',
    tally.removedRows,
  );
  labelled(
    'retention_removed_bytes',
    'kind',
    'Bytes of payloads and records that retention has removed here.',
    tally.removedBytes,
  );
  labelled('shard_changes', 'state', 'Shards that entered a state.', tally.shardStates);
  plain(
    'schema_waits',
    'Times that a shard came to stand before a record whose schema was not known yet.',
    () => tally.schemaWaits,
  );
  plain('entities_opened', 'Entities that were brought into memory.', () => tally.entitiesOpened);
  plain('entities_closed', 'Entities that were passivated or dropped.', () => tally.entitiesClosed);
  plain('function_losses', 'Times that the function was lost.', () => tally.functionLosses);
}

function addHistograms(registry: Registry, hub: SignalHub): void {
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name: `stateferry_${name}`, help, buckets, registers: [registry] });

  const journalSeconds = histogram('journal_duration_seconds', 'Time of the Postgres transaction of a chunk.', SECONDS);
  const chunkRecords = histogram('chunk_size_records', 'Input records in a chunk.', SIZES);
  const chunkEvents = histogram('chunk_size_events', 'State events in a chunk.', SIZES);
  const transactionSeconds = histogram(
    'transaction_duration_seconds',
    'Time of a Kafka transaction, from its begin to the answer to its commit.',
    SECONDS,
  );
  const transactionChunks = histogram('transaction_size_chunks', 'Chunks in a Kafka transaction.', SIZES);
  const transactionRecords = histogram('transaction_size_records', 'Output records in a Kafka transaction.', SIZES);
  const registrySeconds = new Histogram({
    name: 'stateferry_registry_duration_seconds',
    help: 'Requests to addresses of the schema registry and their time, by what was asked and what came of it.',
    labelNames: ['request', 'outcome'],
    buckets: SECONDS,
    registers: [registry],
  });
  hub.subscribe({
    chunkJournaled({ records, events, ms }) {
      journalSeconds.observe(ms / 1_000);
      chunkRecords.observe(records);
      chunkEvents.observe(events);
    },
    transactionCommitted({ chunks, records, ms }) {
      transactionSeconds.observe(ms / 1_000);
      transactionChunks.observe(chunks);
      transactionRecords.observe(records);
    },
    registryAsked: ({ request, outcome, ms }) => registrySeconds.observe({ request, outcome }, ms / 1_000),
  });
}

function addGauges(registry: Registry, status: () => Status): void {
  // All gauges of one scrape are collected in one turn and see the same moment.
  let snapshot: Status | undefined;
  const current = () => {
    if (snapshot === undefined) {
      snapshot = status();
      queueMicrotask(() => {
        snapshot = undefined;
      });
    }
    return snapshot;
  };
  const gauge = (name: string, help: string, read: (status: Status) => number) =>
    new Gauge({
      name: `stateferry_${name}`,
      help,
      registers: [registry],
      collect() {
        this.set(read(current()));
      },
    });
  const total = (load: (shard: Status['shards'][number]) => number) => (status: Status) =>
    status.shards.reduce((sum, shard) => sum + load(shard), 0);

  gauge('engine_up', '1 while the engine runs.', ({ state }) => (state === 'running' ? 1 : 0));
  gauge('function_up', '1 while the function can be reached.', (status) => (status.function.up ? 1 : 0));
  new Gauge({
    name: 'stateferry_state_shards',
    help: 'Shards of this process, by state.',
    labelNames: ['state'],
    registers: [registry],
    collect() {
      const { shards } = current();
      for (const state of SHARD_STATES) this.set({ state }, shards.filter((shard) => shard.state === state).length);
    },
  });
  gauge(
    'active_entities',
    'Entities in memory.',
    total((shard) => shard.activeEntities),
  );
  gauge(
    'paused_entities',
    'Entities that are paused, or not yet quite resumed.',
    total((shard) => shard.pausedEntities),
  );
  gauge(
    'schema_waiting_shards',
    'Shards that stand before a record whose schema the registry has yet to tell.',
    total(({ schemaAwaitedSince }) => (schemaAwaitedSince === null ? 0 : 1)),
  );
  gauge(
    'schema_waiting_seconds',
    'For how long the first of those shards has waited; 0: there is none.',
    ({ shards }) => {
      const since = shards.flatMap(({ schemaAwaitedSince }) => schemaAwaitedSince ?? []);
      return since.length === 0 ? 0 : Math.max(0, Date.now() - Math.min(...since)) / 1_000;
    },
  );
  for (const unit of ['records', 'bytes'] as const satisfies (keyof Load)[]) {
    gauge(
      `in_flight_${unit}`,
      `Input taken from Kafka that is not journaled yet, in ${unit}.`,
      total((shard) => shard.inFlight[unit]),
    );
    gauge(
      `waiting_${unit}`,
      `Output that is journaled and not yet in Kafka, in ${unit}.`,
      total((shard) => shard.waiting[unit]),
    );
  }
  new Gauge({
    name: 'stateferry_lag_records',
    help: 'Offsets from the journal’s position to the end of the partition, by topic and shard.',
    labelNames: ['topic', 'shard'],
    registers: [registry],
    collect() {
      // Shards that moved away must not leave their last lag behind.
      this.reset();
      for (const { shard, positions } of current().shards) {
        for (const [topic, { lag }] of Object.entries(positions)) {
          if (lag !== null) this.set({ topic, shard: String(shard) }, lag);
        }
      }
    },
  });
  new Gauge({
    name: 'stateferry_feed_lag_events',
    help: 'Events of the shard that a feed is behind by while it catches up, by feed, entity type and shard.',
    labelNames: ['feed', 'entity_type', 'shard'],
    registers: [registry],
    collect() {
      this.reset();
      for (const { shard, feeds } of current().shards) {
        for (const { name: feed, entityType, behind } of feeds) {
          if (behind !== null) this.set({ feed, entity_type: entityType, shard: String(shard) }, behind);
        }
      }
    },
  });
}
