import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Assumed } from '../../src/config/load.ts';
import { OPTION_NAMES } from '../../src/config/options.ts';
import { messageOf } from '../../src/errors.ts';
import { freePorts } from '../../src/local/ports.ts';
import { createTopics } from '../../src/topics/ensure.ts';
import { CALL_KEY, type Callers, startCallers } from './callers.ts';
import { checkHistory, missingOutputs, type Verdict, type Violation } from './checker.ts';
import { withAdminOf } from './client.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { METHODS, type Method } from './commands.ts';
import { startFunctions } from './functions.ts';
import type { History, SeenRecord, Sent, Topics } from './history.ts';
import { createInjector, type Injector } from './injector.ts';
import { isReleased, readJournal } from './journal-rows.ts';
import type { MutationName } from './mutations.ts';
import {
  describePlanned,
  endsWithPartitions,
  isExcuse,
  type Planned,
  planFaults,
  type RunOptions,
  SLOTS,
} from './plan.ts';
import { createPromoter } from './promoter.ts';
import { startProxy, type TcpProxy } from './proxy.ts';
import { type Reader, startReader } from './reader.ts';
import { createReplayer, replayFaults } from './replayer.ts';
import { createScope } from './scope.ts';
import { type Sender, startSender } from './sender.ts';
import { createSlots, type Slots } from './slots.ts';
import type { Known } from './steps.ts';
import { startVitals, type Vitals } from './vitals.ts';

const PARTITIONS = 6;
/** Where events are published once more. */
const REPLAYED = 'events-again';
const READY_WITHIN_MS = 120_000;
/** After everything is healed, all that was sent must be done in this time, and something all the time. */
const SETTLES_WITHIN_MS = 600_000;
/** All events are published once more within this, when nothing is wrong any more. */
const REPLAYED_WITHIN_MS = 120_000;
/** A reader of all that is there gets more of it within this. */
const READS_WITHIN_MS = 60_000;
/** Between two looks at all that was read, so many times as long as one took. */
const REST = 5;
const SILENT_FOR_MS = 90_000;
/** After everything is healed, a generation that was begun must serve in this time. */
const PROMOTED_WITHIN_MS = 180_000;
/** No engine may need more; one that is idle needs about 120 MB. */
const MOST_RSS_MB = 500;

export interface FaultRun {
  readonly options: RunOptions;
  /** Of the compiled engine: engine-child.js. */
  readonly program: string;
  readonly mutation?: MutationName;
  /** Methods of the commands that are sent; all where absent. */
  readonly only?: readonly Method[];
  /** In the place of the plan that the seed gives: done under load, and the load is paused after it. */
  readonly script?: (stage: Stage) => Promise<void>;
  /** When nothing at all has been read for so long, what is missing counts as lost; 90 s where absent. */
  readonly silentForMs?: number;
  /** When so much time has passed since all was healed, what is missing counts as lost; ten minutes where absent. */
  readonly settlesWithinMs?: number;
  readonly log: (line: string) => void;
}

/** What a script can do things to. */
export interface Stage {
  readonly cluster: Cluster;
  readonly slots: Slots;
  readonly injector: Injector;
  readonly sender: Sender;
  readonly callers: Callers;
  /** Shards of the deployment. */
  readonly partitions: number;
  /** Resolves when all that was sent by now is done: its outputs have been read. The load must be paused. */
  allDone(): Promise<void>;
  until(withinMs: number, holds: () => boolean | Promise<boolean>, what: string): Promise<void>;
}

/** What a run came to, as a line of the results has it. */
export interface RunResult {
  readonly seed: number;
  readonly options: Omit<RunOptions, 'seed' | 'minutes' | 'faults'>;
  readonly mutation?: MutationName;
  readonly minutes: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly commands: number;
  readonly outputs: number;
  readonly deadLetters: number;
  readonly excused: number;
  readonly unknowns: number;
  readonly calls: number;
  readonly callsUnknown: number;
  readonly cuts: number;
  readonly starts: number;
  /** See Slots. */
  readonly orphans: number;
  readonly rebuilds: Readonly<Record<string, number>>;
  readonly recoveryMs: { readonly p50: number; readonly max: number };
  /** From the end of all faults until everything was done. */
  readonly settledMs: number | null;
  readonly rssMaxMb: number;
  readonly rssRestMb: number;
  readonly violations: readonly string[];
  /** Where the data is; null where nothing was wrong, and it is gone. */
  readonly kept: string | null;
}

/** One run from its servers to its verdict. Never throws for what the engine does: that is a violation. */
export async function runFaults(run: FaultRun): Promise<RunResult> {
  const { options, log } = run;
  const began = Date.now();
  const dir = await mkdtemp(path.join(tmpdir(), `stateferry-fault-${options.seed}-`));
  await mkdir(path.join(dir, 'engines'), { recursive: true });
  const t = createScope();
  const plan = run.script === undefined ? planFaults(options) : [];
  let kept = false;
  try {
    const cluster = await startCluster(t, { dir: await passable(dir), brokers: options.brokers, log });
    const functions = await startFunctions(t);
    const functionProxies: TcpProxy[] = [];
    for (let slot = 0; slot < SLOTS; slot++) {
      const [port] = await freePorts(1);
      const proxy = await startProxy({
        port: port as number,
        to: () => functions.ports[slot % functions.ports.length] ?? 0,
      });
      t.onTestFinished(() => proxy.close());
      functionProxies.push(proxy);
    }
    const groupId = 'bank';
    const topics: Topics = {
      partitions: PARTITIONS,
      input: 'orders',
      replies: 'replies',
      events: 'events',
      deadLetters: 'dead-letters',
      commands: `${groupId}-commands`,
    };
    const all = [topics.input, topics.replies, topics.events, topics.deadLetters, topics.commands];
    const direct = cluster.direct.brokers;
    await withAdminOf(direct, (admin) =>
      createTopics(
        admin,
        [...all, REPLAYED].map((topic) => ({ topic, numPartitions: PARTITIONS, replicationFactor: options.brokers })),
      ),
    );
    // Told beforehand, so that a caller finds the engine that comes after another at the same door.
    const doorPorts = await freePorts(SLOTS);
    const slots = createSlots(t, {
      program: run.program,
      dir: path.join(dir, 'engines'),
      partitions: PARTITIONS,
      kafkaPorts: cluster.kafkaProxies.flat().map(({ proxy }) => proxy.port),
      config: (slot) => ({
        ...engineConfig(topics, groupId),
        'kafka.brokers': cluster.of[slot]?.brokers ?? [],
        'postgres.url': cluster.of[slot]?.databaseUrl ?? '',
        'function.url': `http://127.0.0.1:${functionProxies[slot]?.port}`,
        'doors.port': doorPorts[slot] ?? 0,
      }),
      ...(run.mutation !== undefined && { mutation: run.mutation }),
    });
    const reader = await startReader({ brokers: direct, topics: all, binary: topics.commands, cuts: true });
    t.onTestFinished(() => reader.stop());
    const sender = await startSender({
      brokers: direct,
      topic: topics.input,
      partitions: PARTITIONS,
      seed: options.seed,
      perSecond: options.perSecond,
      ...(run.only !== undefined && { only: run.only }),
    });
    t.onTestFinished(() => sender.stop());
    const callers = await startCallers(t, {
      ports: doorPorts,
      up: () =>
        slots.engines.flatMap((engine, slot) => (engine !== undefined && engine.exit === undefined ? [slot] : [])),
      seed: options.seed,
      perSecond: options.callsPerSecond,
      ...(run.only !== undefined && { only: run.only }),
    });
    const known: Known = {
      topics,
      calls: callers.calls,
      excusable: plan.some(({ fault }) => isExcuse(fault)) ? ['FUNCTION_TIMEOUT', 'FUNCTION_LOST'] : [],
    };
    const vitals = startVitals(() =>
      slots.engines.map((engine) => (engine?.exit === undefined ? engine?.pid : undefined)),
    );
    t.onTestFinished(async () => vitals.stop());

    await slots.scale(options.engines);
    await until(READY_WITHIN_MS, () => slots.ready(), 'the engines are ready before any fault');
    log(`ready after ${((Date.now() - began) / 1000).toFixed(0)} s; ${plan.length} faults in ${options.minutes} min`);

    const errand = {
      folder: path.dirname(run.program),
      config: {
        ...engineConfig(topics, groupId),
        'kafka.brokers': direct,
        'postgres.url': cluster.direct.databaseUrl,
        'function.url': `http://127.0.0.1:${functions.ports[0]}`,
        'log.level': 'warn',
      },
      log,
    };
    const promoter = createPromoter(t, errand);
    const replayer = createReplayer(t, { ...errand, topic: REPLAYED });
    const injector = createInjector({
      promoter,
      replayer,
      cluster,
      functions,
      functionProxies,
      slots,
      groupId,
      engines: options.engines,
      morePartitions: { topic: topics.input, count: PARTITIONS + 2 },
      isReleased: () => isReleased(cluster.direct.databaseUrl),
      log,
    });
    sender.resume();
    callers.resume();
    const stage: Stage = {
      cluster,
      slots,
      injector,
      sender,
      callers,
      partitions: PARTITIONS,
      allDone: () =>
        until(READY_WITHIN_MS, () => missingOutputs(known, reader.records) === 0, 'all that was sent is done'),
      until,
    };
    const injected =
      run.script === undefined
        ? await carryOut(plan, injector, options.minutes * 60_000, log)
        : { ends: [], problems: await problemsOf(run.script(stage)) };
    await Promise.all([sender.pause(), callers.pause()]);
    const problems: string[] = [...injected.problems];
    await injector.healAll();
    log('healed');
    problems.push(...(await problemsOf(promoter.done(PROMOTED_WITHIN_MS))));
    const healed = performance.now();
    const limits = {
      since: healed,
      silentForMs: run.silentForMs ?? SILENT_FOR_MS,
      withinMs: run.settlesWithinMs ?? SETTLES_WITHIN_MS,
    };
    let settledMs = await settle(known, direct, reader, slots, limits);
    if (settledMs !== null) {
      // Of a call that nobody knows the outcome of, this tells when it has one.
      problems.push(...(await problemsOf(callers.readAll())));
      settledMs = await settle(known, direct, reader, slots, limits);
    }
    const waitedS = Math.round((performance.now() - healed) / 1_000);
    if (settledMs !== null && run.script === undefined && endsWithPartitions(options)) {
      log('partitions are added to the input topic: every engine must stop');
      await injector.inject({ at: 0, forMs: 0, fault: { kind: 'add-partitions' } });
      await until(READY_WITHIN_MS, () => slots.refusals >= options.engines, 'all engines stop').catch((error: Error) =>
        problems.push(error.message),
      );
    }
    const history = await rest({
      known,
      all,
      direct,
      databaseUrl: cluster.direct.databaseUrl,
      groupId,
      reader,
      slots,
      sent: sender.sent,
      settled: settledMs !== null,
    });
    if (replayer.wasUsed && settledMs !== null) {
      problems.push(
        ...(await problemsOf(
          replayer.finish(REPLAYED_WITHIN_MS).then(async () => {
            const faults = replayFaults(eventsIn(history.seen, topics.events), await readAll(direct, REPLAYED));
            if (faults.length > 0) throw new Error(faults.join('; '));
          }),
        )),
      );
    }
    const verdict = checkHistory(history);
    const result = await conclude({
      waitedS,
      run,
      plan,
      dir,
      verdict,
      history,
      injector,
      injected: injected.ends,
      problems,
      slots,
      vitals,
      reader,
      settledMs,
      log,
    });
    kept = result.kept !== null;
    return result;
  } finally {
    await t.end();
    if (!kept) await rm(dir, { recursive: true, force: true });
  }
}

/** Postgres may run as another user, who has to get to its folder. */
async function passable(dir: string): Promise<string> {
  const { chmod } = await import('node:fs/promises');
  await chmod(dir, 0o711);
  return dir;
}

function engineConfig(topics: Topics, name: string): Assumed {
  const methods = Object.entries(METHODS).flatMap(([service, list]) => list.map((method) => ({ service, method })));
  const services = Object.keys(METHODS);
  return {
    'deployment.name': name,
    'kafka.sessionTimeoutMs': 6_000,
    'kafka.heartbeatIntervalMs': 500,
    'kafka.topicCheckMs': 2_000,
    'kafka.rebalanceTimeoutMs': 15_000,
    'kafka.connectionTimeoutMs': 3_000,
    'kafka.requestTimeoutMs': 8_000,
    // Nothing may depend on the broker's giving up a transaction: only a fence ends it in time.
    'kafka.transactionTimeoutMs': 300_000,
    'postgres.statementTimeoutMs': 6_000,
    'function.deadlineMs': 10_000,
    'function.backoffMaxMs': 500,
    // Small enough that entities are passivated and shards are full when something stands.
    'function.maxStreams': 24,
    'engine.maxRecordsInFlight': 300,
    'engine.maxChunkRecords': 200,
    'engine.takeoverGraceMs': 1_000,
    ...(OPTION_NAMES.includes('journal.outboxRetentionChunks') && { 'journal.outboxRetentionChunks': 5 }),
    'topics.subscriptions': methods.map((one) => ({ topic: topics.input, ...one })),
    'topics.destinations': {
      replies: [...methods, { service: 'bank.AccountService', method: 'Receive' }].map((one) => ({
        ...one,
        topic: topics.replies,
        format: 'json',
      })),
      events: services.map((service) => ({ service, topic: topics.events, format: 'json' })),
    },
    'deadLetters.topic': topics.deadLetters,
    'http.port': 0,
    'idempotency.keys': [{ topic: topics.commands, header: CALL_KEY }],
    'log.level': 'info',
    'log.format': 'json',
  };
}

interface Ended {
  readonly planned: Planned;
  /** performance.now() */
  readonly at: number;
}

/** Does what the plan says when it says so, and resolves when its time is over. */
async function carryOut(
  plan: readonly Planned[],
  injector: Injector,
  lengthMs: number,
  log: (line: string) => void,
): Promise<{ ends: Ended[]; problems: string[] }> {
  const start = performance.now();
  const ends: Ended[] = [];
  const problems: string[] = [];
  const untilThen = (at: number) => delay(Math.max(0, start + at - performance.now()));
  const all = plan.map(async (planned) => {
    await untilThen(planned.at);
    log(describePlanned(planned));
    try {
      const end = await injector.inject(planned);
      await untilThen(planned.at + planned.forMs);
      await end();
    } catch (error) {
      problems.push(`${describePlanned(planned)}: ${messageOf(error)}`);
    }
    ends.push({ planned, at: performance.now() });
  });
  await Promise.all([...all, untilThen(lengthMs)]);
  return { ends, problems };
}

async function problemsOf(script: Promise<void>): Promise<string[]> {
  try {
    await script;
    return [];
  } catch (error) {
    return [messageOf(error)];
  }
}

/** Resolves to the ms from `since` until all that was sent is done and every engine is ready; null: it took too long. */
async function settle(
  known: Known,
  brokers: readonly string[],
  reader: Reader,
  slots: Slots,
  { since, silentForMs, withinMs }: { since: number; silentForMs: number; withinMs: number },
): Promise<number | null> {
  const giveUp = since + withinMs;
  const silent = () => performance.now() - Math.max(since, reader.records.at(-1)?.at ?? since) > silentForMs;
  let ends: ReadonlyMap<string, bigint> | undefined;
  while (performance.now() < giveUp && !silent()) {
    ends ??= await endsOf(brokers, [known.topics.input]).catch(() => undefined);
    const read = ends !== undefined && [...ends].every(([partition, end]) => reader.position(partition) >= end);
    let lookedMs = 0;
    if (read && (await slots.ready())) {
      const looks = performance.now();
      if (missingOutputs(known, reader.records) === 0) return performance.now() - since;
      lookedMs = performance.now() - looks;
    }
    // Nothing goes through the proxies while this process counts, and no reader of its gives a sign of life.
    await delay(Math.max(250, REST * lookedMs));
  }
  return null;
}

async function endsOf(brokers: readonly string[], topics: readonly string[]): Promise<Map<string, bigint>> {
  return withAdminOf(brokers, async (admin) => {
    const ends = new Map<string, bigint>();
    for (const topic of topics) {
      for (const { partition, high } of await admin.fetchTopicOffsets(topic)) {
        if (BigInt(high) > 0n) ends.set(`${topic}/${partition}`, BigInt(high));
      }
    }
    return ends;
  });
}

/** Stops all engines in order and gathers what there is to be checked. */
async function rest(at: {
  known: Known;
  all: readonly string[];
  direct: readonly string[];
  databaseUrl: string;
  groupId: string;
  reader: Reader;
  slots: Slots;
  sent: readonly Sent[];
  settled: boolean;
}): Promise<History> {
  const { known, direct, reader } = at;
  const { topics } = known;
  await at.slots.stopAll();
  const history = { ...known, sent: at.sent };
  if (!at.settled) return { ...history, seen: [...reader.records], cuts: reader.cuts };
  const ends = await endsOf(direct, at.all);
  await untilRead(reader, ends);
  const second = await startReader({ brokers: direct, topics: at.all, binary: topics.commands, cuts: false });
  let final: SeenRecord[];
  try {
    await untilRead(second, ends);
    final = [...second.records];
  } finally {
    await second.stop();
  }
  const committed = await withAdminOf(direct, (admin) => admin.fetchOffsets({ groupId: at.groupId }));
  return {
    ...history,
    seen: [...reader.records],
    cuts: [...reader.cuts],
    final,
    journal: await readJournal(at.databaseUrl),
    committed: Object.fromEntries(
      committed.map(({ topic, partitions }) => [
        topic,
        Object.fromEntries(partitions.map(({ partition, offset }) => [String(partition), offset])),
      ]),
    ),
  };
}

/** Events of event sourced entities, in the order of their partitions. */
function eventsIn(seen: readonly SeenRecord[], topic: string): SeenRecord[] {
  return seen.filter((record) => record.topic === topic && /\/event-\d+$/.test(record.id));
}

async function readAll(brokers: readonly string[], topic: string): Promise<readonly SeenRecord[]> {
  const ends = await endsOf(brokers, [topic]);
  const reader = await startReader({ brokers, topics: [topic], binary: '', cuts: false });
  try {
    await untilRead(reader, ends);
    return [...reader.records];
  } finally {
    await reader.stop();
  }
}

/** Waits until a reader has come to these ends, for as long as it comes nearer. */
async function untilRead(reader: Reader, ends: ReadonlyMap<string, bigint>): Promise<void> {
  let read = -1;
  let since = performance.now();
  while (![...ends].every(([partition, end]) => reader.position(partition) >= end)) {
    if (reader.records.length > read) {
      read = reader.records.length;
      since = performance.now();
    } else if (performance.now() - since > READS_WITHIN_MS) {
      throw new Error(`a reader stood still after ${read} records, and there are more`);
    }
    await delay(100);
  }
}

async function until(withinMs: number, holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const giveUp = performance.now() + withinMs;
  while (!(await holds())) {
    if (performance.now() > giveUp) throw new Error(`not within ${withinMs / 1000} s: ${what}`);
    await delay(100);
  }
}

async function conclude(at: {
  run: FaultRun;
  plan: readonly Planned[];
  dir: string;
  verdict: Verdict;
  history: History;
  injector: Injector;
  injected: readonly Ended[];
  problems: readonly string[];
  slots: Slots;
  vitals: Vitals;
  reader: Reader;
  settledMs: number | null;
  /** From the end of all faults until everything was done, or it was given up. */
  waitedS: number;
  log: (line: string) => void;
}): Promise<RunResult> {
  const { run, verdict, history, slots, vitals, log } = at;
  const { seed, minutes, faults: _, ...options } = run.options;
  const sentences = [
    ...(at.settledMs === null
      ? [
          `${missingOutputs(history, history.seen)} outputs were missing ${at.waitedS} s after everything was healed, or an engine was not ready`,
        ]
      : []),
    ...at.problems,
    ...slots.faults.map(({ sentence }) => sentence),
    ...at.reader.faults,
    ...verdict.violations.map(({ kind, sentence }) => `${kind}: ${sentence}`),
    ...(vitals.maxMb > MOST_RSS_MB ? [`an engine had ${vitals.maxMb} MB`] : []),
  ];
  const recoveries = recoveryTimes(at.injected, history);
  const result: RunResult = {
    seed,
    options,
    ...(run.mutation !== undefined && { mutation: run.mutation }),
    minutes,
    faults: Object.fromEntries([...at.injector.done].sort()),
    commands: verdict.commands,
    outputs: verdict.outputs,
    deadLetters: verdict.deadLetters,
    excused: verdict.excused,
    unknowns: verdict.unknown,
    calls: verdict.calls,
    callsUnknown: verdict.callsUnknown,
    cuts: history.cuts.length,
    starts: slots.starts,
    orphans: slots.orphans,
    rebuilds: Object.fromEntries([...slots.rebuilds].sort()),
    recoveryMs: { p50: percentile(recoveries, 0.5), max: percentile(recoveries, 1) },
    settledMs: at.settledMs === null ? null : Math.round(at.settledMs),
    rssMaxMb: vitals.maxMb,
    rssRestMb: vitals.lastMb,
    violations: sentences,
    kept: sentences.length === 0 ? null : at.dir,
  };
  if (sentences.length === 0) return result;
  await keep(at.dir, run, at.plan, history, result, verdict.violations);
  log(`seed ${seed}: ${sentences.length} violations; the data is in ${at.dir}`);
  for (const line of at.plan.map(describePlanned)) log(`  ${line}`);
  for (const sentence of sentences.slice(0, 10)) log(`- ${sentence}`);
  for (const { records } of verdict.violations.slice(0, 3))
    for (const record of records) log(`    ${describeRecord(record)}`);
  for (const engine of slots.faults.slice(0, 2)) for (const line of engine.lines.slice(-8)) log(`    ${line}`);
  return result;
}

/** The history as lines of JSON, the plan and the verdict, beside the logs of the servers and engines. */
async function keep(
  dir: string,
  run: FaultRun,
  plan: readonly Planned[],
  history: History,
  result: RunResult,
  violations: readonly Violation[],
): Promise<void> {
  const text = (value: unknown) =>
    JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'bigint' ? inner.toString() : inner));
  const { seen, final, sent, calls, cuts, journal, ...other } = history;
  await writeFile(path.join(dir, 'result.json'), text({ result, options: run.options, plan, violations, ...other }));
  await writeFile(path.join(dir, 'seen.jsonl'), seen.map(text).join('\n'));
  await writeFile(path.join(dir, 'final.jsonl'), (final ?? []).map(text).join('\n'));
  await writeFile(path.join(dir, 'sent.jsonl'), sent.map(text).join('\n'));
  await writeFile(path.join(dir, 'calls.jsonl'), calls.map(text).join('\n'));
  await writeFile(path.join(dir, 'cuts.jsonl'), cuts.map(text).join('\n'));
  await writeFile(path.join(dir, 'journal.json'), text(journal ?? null));
}

export function describeRecord(record: SeenRecord): string {
  const { topic, partition, offset, id, type, code, value } = record;
  return `${topic}/${partition}/${offset} ${[id, type, code].filter((one) => one !== '').join(' ')} ${value}`;
}

/** For each fault that ended: until the first commands that were sent after it had an output. */
function recoveryTimes(ended: readonly Ended[], { sent, seen, topics }: History): number[] {
  const SAMPLE = 20;
  const first = new Map<string, number>();
  for (const { topic, id, at, from } of seen) {
    const command = topic === topics.deadLetters ? from : (/^[^#]*?\/\d+\/\d+/.exec(id)?.[0] ?? '');
    if (topic !== topics.input && !first.has(command)) first.set(command, at);
  }
  const known = sent.filter(({ outcome }) => outcome === 'acknowledged').sort((a, b) => a.at - b.at);
  return ended.flatMap(({ at }) => {
    const from = known.findIndex((one) => one.at >= at);
    if (from < 0) return [];
    const times = known
      .slice(from, from + SAMPLE)
      .map(({ partition, offset }) => first.get(`${topics.input}/${partition}/${offset}`))
      .filter((time) => time !== undefined);
    return times.length === 0 ? [] : [Math.max(...times) - at];
  });
}

function percentile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0);
}
