/** `npm run bench:history`: argv in; a table and the exit code out, 1 when what came out was wrong, however fast. */
import { fileURLToPath } from 'node:url';
import { eventsOf } from '../src/inspect/events.ts';
import { type History, openHistory } from '../src/inspect/scope.ts';
import { stateSourceAt } from '../src/inspect/state-at.ts';
import { createPool } from '../src/journal/pool.ts';
import { createTopics } from '../src/topics/ensure.ts';
import { runBenchmark, tabled } from './benchmark.ts';
import { ENTITY_TYPE } from './counter.ts';
import { engineSettings, startEngine } from './engine-process.ts';
import { startCounter } from './functions.ts';
import type { Ground } from './ground.ts';
import { type Latencies, latencies } from './latencies.ts';
import { whole, withCommonOptions } from './options.ts';
import { processMeter, residentBytes } from './proc.ts';
import { align, machine, number } from './report.ts';
import { measureRun } from './run.ts';
import { openScene, type Scene } from './scene.ts';

/** Commands of one backlog: it is published within one transaction. */
const BACKLOG = 200_000;
const GENERATION = 'again';
/** One entity's events and state must be there within this, in ms. */
const MOST_INSPECT_MS = 50;
const INSPECTED = 500;
const MEMORY_EVERY_MS = 500;
const MB = 1_000_000;

interface HistoryOptions {
  readonly events: number;
  readonly entities: number;
  readonly partitions: number;
  readonly json?: string;
  readonly set: readonly string[];
  readonly brokers: string[] | undefined;
  readonly databaseUrl: string | undefined;
}

/** One command of the command line, from its start to its end. */
interface Ran {
  readonly name: string;
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** Bytes of resident memory: the median of the second quarter of the time, and of the last. */
  readonly memory: { readonly early: number; readonly late: number };
}

interface Results {
  /** Events a second that the live engine made. */
  readonly liveRate: number;
  readonly ran: readonly Ran[];
  readonly inspect: Latencies;
  readonly problems: readonly string[];
}

function readHistory(argv: readonly string[]): HistoryOptions {
  return withCommonOptions('bench:history')
    .description(
      'How long it takes to make history again, compare it, replay it and look into it. See bench/README.md.',
    )
    .option('--events <n>', 'events in the journal', whole, 2_000_000)
    .option('--entities <n>', 'entities that they are of', whole, 100_000)
    .option('--partitions <n>', 'shards', whole, 8)
    .parse([...argv], { from: 'user' })
    .opts<HistoryOptions>();
}

async function measure(ground: Ground, options: HistoryOptions): Promise<Results> {
  const say = (what: string): void => void process.stderr.write(`measuring ${what}\n`);
  const { entities, partitions } = options;
  const scene = await openScene(ground, { name: 'history', entities, partitions });
  const fn = await startCounter(ground, 'lean');
  const schema = scene.id.replaceAll('-', '_');
  const place = {
    deployment: scene.id,
    schema,
    input: scene.input,
    output: scene.output,
    maxStreams: Math.max(entities, 10_000),
    functionUrl: fn.url,
    settings: options.set,
  };
  const engine = await startEngine(ground, {
    ...place,
    label: 'history',
    shards: partitions,
    nodeFlags: [],
    profile: undefined,
  });
  say(`the live engine, ${number(options.events)} events`);
  const failed = Promise.race([engine.failed, fn.failed]);
  failed.catch(() => undefined);
  let seconds = 0;
  for (let left = options.events; left > 0; left -= BACKLOG) {
    seconds += (await measureRun(scene, Math.min(left, BACKLOG), { meters: {}, failed })).seconds;
  }
  const problems = await scene.verdict();
  await engine.stop('SIGTERM');

  const again = `${scene.id}-again`;
  const admin = ground.kafka.admin();
  await admin.connect();
  await createTopics(admin, [{ topic: again, numPartitions: partitions }]);
  await admin.disconnect();
  const run = async (name: string, args: readonly string[]): Promise<Ran> => {
    say(`stateferry ${args.join(' ')}`);
    const { ran, code } = await runCommand(ground, name, [...args, ...engineSettings(place)]);
    if (code !== 0) problems.push(`stateferry ${args.join(' ')} ended with ${code}`);
    return ran;
  };
  const inspect = await measureInspect(ground, scene, schema, say);
  const ran = [
    await run('reprocess', ['reprocess', 'start', GENERATION]),
    // The same version: it must find no difference.
    await run('diff', ['diff', GENERATION]),
    await run('replay', ['replay', '--to', again]),
    await run('trace', ['entity', 'trace', 'counter-0000007']),
  ];
  await fn.stop('SIGKILL');
  await scene.close();
  return { liveRate: options.events / seconds, ran, inspect, problems };
}

async function runCommand(
  ground: Ground,
  name: string,
  args: readonly string[],
): Promise<{ readonly ran: Ran; readonly code: number | null }> {
  const main = fileURLToPath(new URL('../src/main.js', import.meta.url));
  const began = performance.now();
  const started = await ground.start(`history-${name}`, [main, ...args], {
    KAFKA_BROKERS: ground.brokers.join(','),
    DATABASE_URL: ground.databaseUrl,
    NODE_ENV: 'production',
  });
  const meter = processMeter(started.pid);
  const memory: number[] = [];
  let cpuMs = 0;
  const timer = setInterval(() => {
    memory.push(residentBytes(started.pid));
    cpuMs = meter.cpuMs() || cpuMs;
  }, MEMORY_EVERY_MS);
  const { code } = await started.exited;
  clearInterval(timer);
  const quarter = (n: number): number => median(memory.slice((memory.length * n) >> 2, (memory.length * (n + 1)) >> 2));
  return {
    code,
    ran: {
      name,
      seconds: (performance.now() - began) / 1_000,
      cpuSeconds: cpuMs / 1_000,
      memory: { early: quarter(1), late: quarter(3) },
    },
  };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

/** Events and state of one entity after the other, as `journal events --entity` and `entity show` read them. */
async function measureInspect(
  ground: Ground,
  { id, counters }: Scene,
  schema: string,
  say: (what: string) => void,
): Promise<Latencies> {
  say(`a look at each of ${INSPECTED} entities`);
  const pool = createPool({
    url: ground.databaseUrl,
    schema,
    size: 1,
    statementTimeoutMs: 60_000,
    applicationName: 'bench',
    onIdleError: () => undefined,
  });
  try {
    const topics = { commands: `${id}-commands`, answers: `${id}-answers` };
    const history = await openHistory(pool, {
      deployment: id,
      shards: counters.partitions,
      topics,
      liveGeneration: 1,
      generation: undefined,
    });
    const took = new Float64Array(INSPECTED);
    for (let i = 0; i < INSPECTED; i++) {
      const entityId = (counters.keys[Math.floor((i * counters.count) / INSPECTED)] as Buffer).toString();
      const start = performance.now();
      await look(history, entityId);
      took[i] = performance.now() - start;
    }
    return latencies(took);
  } finally {
    await pool.end();
  }
}

async function look(history: History, entityId: string): Promise<void> {
  const key = { entityType: ENTITY_TYPE, entityId };
  const { seq } = await stateSourceAt(history, key, undefined);
  let last = 0;
  for await (const event of eventsOf(history, key, 0, seq)) last = event.seq;
  if (last !== seq) throw new Error(`${entityId} has ${last} events, and its last one is ${seq}`);
}

function table(options: HistoryOptions, { liveRate, ran, inspect, problems }: Results): string {
  const rate = (seconds: number): string => number(options.events / seconds);
  const rows = [
    ['', 's', 'events/s', 'CPU, s', 'memory, MB, early and late'],
    ['the live engine', number(options.events / liveRate, 1), number(liveRate), '', ''],
    ...ran.map(({ name, seconds, cpuSeconds, memory }) => [
      name,
      number(seconds, 1),
      name === 'trace' ? '' : rate(seconds),
      number(cpuSeconds, 1),
      `${number(memory.early / MB)} ${number(memory.late / MB)}`,
    ]),
  ];
  const made = ran.find(({ name }) => name === 'reprocess');
  const asFast = made === undefined ? Number.NaN : options.events / made.seconds / liveRate;
  const met = (holds: boolean): string => (holds ? 'met' : 'NOT MET');
  const wrong = problems.length === 0 ? 'Everything came out right.' : `WRONG:\n  ${problems.join('\n  ')}`;
  return (
    `${number(options.events)} events of ${number(options.entities)} entities, ${options.partitions} shards\n${machine()}\n\n` +
    `${align(rows)}\n\nreprocess, by the rate of the live engine: ${number(asFast, 2)} (>= 1) ${met(asFast >= 1)}\n` +
    `one entity with its events: p50 ${number(inspect.p50, 1)} ms, p99 ${number(inspect.p99, 1)} ms (<= ${MOST_INSPECT_MS}) ` +
    `${met(inspect.p99 <= MOST_INSPECT_MS)}, longest ${number(inspect.max, 1)} ms\n\n${wrong}\n`
  );
}

await runBenchmark(async () => tabled(readHistory(process.argv.slice(2)), { measure, table }));
