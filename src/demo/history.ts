import type { Output } from '../cli/context.ts';
import { formatTable } from '../cli/table.ts';
import { judge as compare } from '../commands/diff.ts';
import { reprocess } from '../commands/reprocess.ts';
import type { Counts, DiffReport } from '../history/difference.ts';
import { createLog } from '../observe/log.ts';
import { type Promotion, promote } from '../promote.ts';
import { formatFindings, summaryLines } from '../verify/report.ts';
import type { Decode } from './decode.ts';
import { expectedOf } from './expected.ts';
import { gatherFacts } from './facts.ts';
import type { Flight } from './flights.ts';
import { TOPICS } from './ground.ts';
import { expectedDifference, judgeHistory, placed, type Switch } from './judge-history.ts';
import type { Progress } from './progress.ts';
import { count } from './report.ts';
import type { Scene } from './scene.ts';
import { verified } from './verified.ts';

/** Published before anything is done with history, at full speed. */
const PAST = 8_000;
/** The rest comes at this pace while the generations are made and change places; what is left then, at full speed. */
const PER_SECOND = 150;
/** Statuses that each version publishes at least before the other one takes over. */
const SERVED = 300;
const HOLD_MS = 30_000;
const SHOWN_FAULTS = 20;

/**
 * The second demo: version 2 of the function is given the past while flights come in, compared with version 1, put in its
 * place and taken back, all under load. True when the difference is what a computation of its own says, and every status
 * and alert was published once, by the version that served at that place of the input.
 */
export async function showHistory(
  scene: Scene,
  options: {
    readonly flights: readonly Flight[];
    readonly decode: Decode;
    readonly progress: Progress;
    readonly out: Output;
    readonly began: number;
  },
): Promise<boolean> {
  const { publisher, reader, next, signal, config } = scene;
  const { flights, decode, progress, out } = options;
  const quiet = { out: { write: () => undefined }, err: { write: () => undefined }, signal };
  progress.say(`Publishing ${count(PAST)} flights to version 1`);
  await Promise.all([publisher.flood(flights.slice(0, PAST), signal), next.part.start()]);
  await reader.reached(TOPICS.statuses, PAST, signal);

  const pacing = new AbortController();
  const traffic = publisher
    .pace(flights.slice(PAST), PER_SECOND, AbortSignal.any([signal, pacing.signal]))
    .catch((error: unknown) => {
      if (!pacing.signal.aborted) throw error;
    });
  traffic.catch(() => undefined);
  progress.say(
    `${PER_SECOND} flights a second come in from now on. stateferry reprocess start g2 --mode cascade --function ${next.url}`,
  );
  const started = performance.now();
  await reprocess(
    config,
    {
      kind: 'start',
      name: 'g2',
      functionUrl: next.url,
      mode: 'cascade',
      from: 'beginning',
      state: undefined,
      components: undefined,
      perSecond: undefined,
      follow: false,
    },
    quiet,
  );
  progress.say(`Generation g2 is complete after ${seconds(started)} s. stateferry diff g2`);
  const report = await compare(config, { name: 'g2', ignore: [] }, quiet);
  const differenceFaults = await judgeDifference(scene, flights, report);
  progress.say(`${count(report.entities)} airports differ. stateferry promote g2`);

  const log = createLog({ level: 'silent', format: 'json' });
  const serve = (name: string): Promise<Promotion> =>
    promote({ config, name, emitTo: undefined, holdMs: HOLD_MS, log, onStep: () => undefined }, signal);
  const there = await serve('g2');
  progress.say(`Version 2 serves; input waited for ${Math.round(there.heldMs)} ms`);
  await reader.reached(TOPICS.statuses, reader.seen(TOPICS.statuses).length + SERVED, signal);
  progress.say(`stateferry promote ${there.retired}`);
  const back = await serve(there.retired);
  progress.say(`Version 1 serves again; input waited for ${Math.round(back.heldMs)} ms`);
  await reader.reached(TOPICS.statuses, reader.seen(TOPICS.statuses).length + SERVED, signal);
  pacing.abort();
  await traffic;
  progress.say('Publishing the rest');
  await publisher.flood(flights.slice(publisher.published()), signal);
  await reader.reached(TOPICS.statuses, flights.length, signal);
  progress.say('Checking everything against a computation of its own');
  const facts = await gatherFacts(scene);
  const verdict = judgeHistory({
    flights,
    expected: { 1: expectedOf(flights, 1), 2: expectedOf(flights, 2) },
    switches: [switchOf(there, 2), switchOf(back, 1)],
    statuses: facts.statuses,
    alerts: facts.alerts,
    decode,
  });
  const held = await verified(config, progress, signal);
  const deadLetters = facts.deadLetters.length === 0 ? [] : [`${facts.deadLetters.length} records are dead letters`];
  const faults = [...differenceFaults, ...verdict.faults, ...deadLetters, ...formatFindings(held)];
  out.write(`\n${tables(report, verdict.counts, facts)}\nstateferry verify\n${summaryLines(held)}`);
  out.write(
    faults.length === 0
      ? `\nAll of it holds. ${seconds(options.began)} s in all.\n`
      : `\n${faults
          .slice(0, SHOWN_FAULTS)
          .map((fault) => `FAULT ${fault}`)
          .join('\n')}\n${faults.length} faults.\n`,
  );
  return faults.length === 0;
}

/** The difference that the report tells, and the one that the flights say, which both versions were given. */
async function judgeDifference(scene: Scene, flights: readonly Flight[], report: DiffReport): Promise<string[]> {
  const given = await scene.journal.goalOf('g2', TOPICS.flights);
  const past = placed(flights)
    .filter(({ partition, offset }) => offset < (given.get(partition) ?? 0n))
    .map(({ flight }) => flight);
  const wanted = expectedDifference(expectedOf(past, 1).alerts, expectedOf(past, 2).alerts);
  const found: Counts = report.topics[TOPICS.alerts] ?? { same: 0, changed: 0, missing: 0, added: 0 };
  return (['same', 'changed', 'missing', 'added'] as const)
    .filter((kind) => found[kind] !== wanted[kind])
    .map((kind) => `diff: ${found[kind]} alerts are ${kind}, and ${wanted[kind]} had to be, of ${past.length} flights`);
}

function switchOf({ positions }: Promotion, rules: Switch['rules']): Switch {
  return { rules, at: new Map([...positions].map(([shard, topics]) => [shard, topics[TOPICS.flights] ?? 0n])) };
}

function tables(
  report: DiffReport,
  served: Readonly<Record<string, number>>,
  facts: { readonly statuses: readonly unknown[]; readonly alerts: readonly unknown[] },
): string {
  const kinds = ['same', 'changed', 'missing', 'added'] as const;
  const difference = formatTable(
    ['version 2 on the past', ...kinds],
    Object.entries(report.topics).map(([topic, counts]) => [topic, ...kinds.map((kind) => count(counts[kind]))]),
    new Set(kinds),
  );
  const live = formatTable(
    ['flights', 'number'],
    [
      ['before version 2 served', count(served.before ?? 0)],
      ['while it served', count(served.between ?? 0)],
      ['after version 1 was back', count(served.after ?? 0)],
      ['statuses published', count(facts.statuses.length)],
      ['alerts published', count(facts.alerts.length)],
    ],
    new Set(['number']),
  );
  return `${difference}\n${live}`;
}

function seconds(since: number): string {
  return ((performance.now() - since) / 1_000).toFixed(1);
}
