/** `npm run bench:scale-out`: argv in; a table and the exit code out, 1 when the outputs were wrong, however short the pauses. */
import { OPTIONS } from '../src/config/options.ts';
import type { Status } from '../src/observe/status.ts';
import { runBenchmark, tabled } from './benchmark.ts';
import { checkJournal } from './engine-case.ts';
import { startEngine } from './engine-process.ts';
import { type RunningFunction, startCounter } from './functions.ts';
import type { Ground } from './ground.ts';
import { whole, withCommonOptions } from './options.ts';
import { EVENTS, measurePauses, type Pause, startFlow } from './pauses.ts';
import { type History, measureRecovery, type Recovery } from './recovery.ts';
import { align, machine, number } from './report.ts';
import { openScene, type Scene } from './scene.ts';

/** The function hands over a snapshot every 100 events: each of these leaves the same number of events after its last one. */
const HISTORIES: readonly History[] = [
  { entities: 1_000, events: 20 },
  { entities: 1_000, events: 220 },
  { entities: 10_000, events: 20 },
];
const QUICK_HISTORIES: readonly History[] = [{ entities: 100, events: 5 }];

interface ScaleOutOptions {
  readonly partitions: number;
  readonly entities: number;
  readonly rate: number;
  readonly repetitions: number;
  readonly quick?: true;
  readonly json?: string;
  readonly set: readonly string[];
  readonly brokers?: string[];
  readonly databaseUrl?: string;
}

interface Results {
  readonly pauses: readonly Pause[];
  readonly recoveries: readonly Recovery[];
  readonly problems: readonly string[];
}

function readScaleOut(argv: readonly string[]): ScaleOutOptions {
  return withCommonOptions('bench:scale-out')
    .description('How long a shard gives no output when processes come and go. See bench/README.md.')
    .option('--partitions <n>', 'partitions of the topics in and out', whole, 8)
    .option('--entities <n>', 'entities that the commands go to while processes come and go', whole, 1_000)
    .option('--rate <n>', 'commands a second, over all shards', whole, 400)
    .option('--repetitions <n>', 'how often a process joins and leaves, and joins and is killed', whole, 3)
    .option('--quick', 'once, with short histories: checks the outputs, says little about time')
    .parse([...argv], { from: 'user' })
    .opts<ScaleOutOptions>();
}

/** One deployment: its topics, its function, and a way to start one process more. */
async function withDeployment<T>(
  ground: Ground,
  options: ScaleOutOptions,
  given: { readonly name: string; readonly entities: number },
  work: (scene: Scene, start: (ready?: (status: Status) => boolean) => ReturnType<typeof startEngine>) => Promise<T>,
): Promise<{ readonly result: T; readonly problems: readonly string[] }> {
  const { partitions } = options;
  const scene = await openScene(ground, { ...given, partitions });
  const schema = scene.id.replaceAll('-', '_');
  const fn: RunningFunction = await startCounter(ground, 'lean');
  let started = 0;
  const result = await work(scene, (ready) =>
    startEngine(ground, {
      deployment: scene.id,
      label: `${given.name}-${++started}`,
      schema,
      input: scene.input,
      output: scene.output,
      shards: partitions,
      maxStreams: Math.max(given.entities, 10_000),
      functionUrl: fn.url,
      settings: options.set,
      nodeFlags: [],
      profile: undefined,
      ...(ready !== undefined && { ready }),
    }),
  );
  await fn.stop('SIGKILL');
  const problems = [...(await scene.verdict()), ...(await checkJournal(ground, schema, scene))];
  await scene.close();
  return { result, problems };
}

async function measure(ground: Ground, options: ScaleOutOptions): Promise<Results> {
  const say = (what: string): void => void process.stderr.write(`measuring ${what}\n`);
  const problems: string[] = [];
  const pausing = await withDeployment(
    ground,
    options,
    { name: 'pauses', entities: options.entities },
    async (scene, start) => {
      const stays = await start();
      const flow = startFlow(scene, options.rate, stays.failed);
      const pauses = await measurePauses({
        stays,
        // Which shards it gets is waited for where the time is taken.
        start: () => start((status) => status.state !== 'failed'),
        flow,
        shards: options.partitions,
        repetitions: options.quick ? 1 : options.repetitions,
        say,
      });
      await flow.stop();
      await stays.stop('SIGTERM');
      return pauses;
    },
  );
  problems.push(...pausing.problems);
  const recoveries: Recovery[] = [];
  for (const history of options.quick ? QUICK_HISTORIES : HISTORIES) {
    const { entities, events } = history;
    say(`recovery, ${entities} entities of ${events} events`);
    const { result, problems: found } = await withDeployment(
      ground,
      options,
      { name: 'recovery', entities },
      (scene, start) => measureRecovery({ scene, history, start: () => start() }),
    );
    recoveries.push(result);
    problems.push(...found);
  }
  return { pauses: pausing.result, recoveries, problems };
}

/** What the project wants: of a hand-over, and of a takeover, which can begin only when the session has expired. */
function targetOf(event: Pause['event'], sessionTimeoutMs: number): number {
  return event === 'kill' ? sessionTimeoutMs + 2_000 : 1_000;
}

function settingOf(options: ScaleOutOptions, name: 'kafka.sessionTimeoutMs' | 'kafka.heartbeatIntervalMs'): number {
  const given = options.set.findLast((setting) => setting.startsWith(`${name}=`));
  return Number(given?.slice(name.length + 1) ?? OPTIONS[name].default);
}

function table(options: ScaleOutOptions, { pauses, recoveries, problems }: Results): string {
  const session = settingOf(options, 'kafka.sessionTimeoutMs');
  const heartbeat = settingOf(options, 'kafka.heartbeatIntervalMs');
  const rows = EVENTS.flatMap((event) =>
    pauses
      .filter((pause) => pause.event === event)
      .map(({ moved, kept, tookMs, load }) => [
        event,
        moved.length === 0 ? '' : number(Math.max(...moved)),
        moved.length === 0 ? '' : number(median(moved)),
        number(Math.max(...kept)),
        number(median(kept)),
        number(tookMs),
        number(load, 1),
        event === 'calm' ? '' : number(targetOf(event, session)),
      ]),
  );
  const head = [
    'event',
    'moved: longest, ms',
    'median',
    'kept: longest, ms',
    'median',
    'until open, ms',
    'load',
    'target, ms',
  ];
  const recovered = recoveries.map(({ entities, events, readyMs, answeredMs, load }) =>
    [entities, events, readyMs, answeredMs].map((value) => number(value)).concat(number(load, 1)),
  );
  return `${[
    `${number(options.rate)} commands a second to ${number(options.entities)} entities in ${options.partitions} shards; session timeout ${number(session)} ms, heartbeats every ${number(heartbeat)} ms\n${machine()}`,
    align([head, ...rows]),
    align([['After a kill: entities', 'events each', 'until open, ms', 'all answered, ms', 'load'], ...recovered]),
    problems.length === 0
      ? 'Outputs: every one there, once, in order.'
      : `The outputs are WRONG:\n${problems.map((problem) => `  ${problem}`).join('\n')}`,
  ].join('\n\n')}\n`;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

await runBenchmark(async () => tabled(readScaleOut(process.argv.slice(2)), { measure, table }));
