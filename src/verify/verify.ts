import type { Admin } from 'kafkajs';
import type pg from 'pg';
import type { Destination } from '../codec/encode.ts';
import { StateferryError } from '../errors.ts';
import type { FunctionClient } from '../functions/client.ts';
import type { Component, Method } from '../model/component.ts';
import type { FramedValues } from '../model/framed.ts';
import type { Positions } from '../model/record.ts';
import type { Descriptors } from '../protocol/descriptors.ts';
import type { Dialect } from '../protocol/dialect.ts';
import type { PartitionLogs } from '../topics/partition-log.ts';
import { checkReplay } from './check-replay.ts';
import { checkSequences } from './check-sequences.ts';
import { checkTransactions } from './check-transactions.ts';
import type { CheckResult } from './findings.ts';
import type { Ground, Topics } from './ground.ts';
import { checkInputs } from './input-pass.ts';
import { type ChunkRow, viewJournal } from './journal.ts';
import { askForState, probeWith } from './observe-entity.ts';
import { checkOutputs } from './output-pass.ts';
import { committedByShard, untilCommitted } from './settle.ts';
import type { Steps } from './steps.ts';
import { createTraces } from './traces.ts';

/** Identities that one pass holds in memory, about 100 bytes each. */
const PASS_IDENTITIES = 2_000_000;
/** What a running deployment may take to commit what it has journaled, in ms. */
const COMMITTED_WITHIN_MS = 5_000;

/** Where one shard was judged up to. */
export interface JudgedPosition {
  readonly shard: number;
  readonly topic: string;
  readonly applied: string;
  /** Null: the group has none. */
  readonly committed: string | null;
}

export interface Report {
  readonly deployment: string;
  /** ISO 8601; the journal is judged as it was then. */
  readonly at: string;
  readonly held: boolean;
  readonly positions: readonly JudgedPosition[];
  readonly checks: readonly CheckResult[];
}

export interface VerifyOptions {
  readonly deployment: string;
  readonly topics: Topics;
  readonly function: {
    readonly client: FunctionClient;
    readonly dialect: Dialect;
    readonly components: ReadonlyMap<string, Component>;
    readonly descriptors: Descriptors;
    /** Its SDK cannot start from a snapshot. */
    readonly ignoresSnapshots: boolean;
    readonly deadlineMs: number;
  };
  readonly eventDestinations: ReadonlyMap<string, readonly Destination[]>;
  readonly framed: FramedValues;
  readonly admin: Admin;
  readonly logs: PartitionLogs;
  readonly pool: pg.Pool;
  /** Entities to replay at most. */
  readonly sample: number;
  readonly probes: readonly Method[];
  /** How long a transaction may stay open before it hangs, in ms. */
  readonly patienceMs: number;
  readonly steps: Steps;
  readonly signal: AbortSignal;
  /** Replaces `PASS_IDENTITIES`. */
  readonly passIdentities?: number;
}

/**
 * Holds journal and topics of a deployment against each other, read-only, whether it runs or not. What is looked at
 * first decides what is judged: what was on the topics before the journal's instant must be explained by it, and what
 * the journal had then must be on the topics after the group has committed it.
 * @throws StateferryError JOURNAL_FOREIGN when there is no journal, or it is another deployment's.
 */
export async function verify(options: VerifyOptions): Promise<Report> {
  const { deployment, topics, admin, logs, pool, steps, signal } = options;
  const all = [...new Set([...topics.inputs, ...topics.outputs])];
  const before = await logs.ranges(all);
  const counts = [...(before.get(topics.commands)?.keys() ?? [])].length;
  const look = () => committedByShard(admin, { group: deployment, topics: topics.inputs, shards: counts });
  const committedBefore = await look();
  const at = new Date();
  const journal = await viewJournal(pool);
  if (journal === undefined || journal.deployment.name !== deployment) {
    await journal?.close();
    throw new StateferryError(
      'JOURNAL_FOREIGN',
      journal === undefined
        ? 'the journal is empty: no process of a deployment has run on it. Check postgres.url and postgres.schema.'
        : `this journal belongs to deployment "${journal.deployment.name}", not "${deployment}". Check deployment.name and postgres.schema.`,
    );
  }
  try {
    const shards = new Map((await journal.shards()).map((row) => [row.shard, row]));
    const chunks = new Map<number, ChunkRow[]>();
    for (const row of await journal.chunks()) chunks.set(row.shard, [...(chunks.get(row.shard) ?? []), row]);
    const committed = await untilCommitted(look, {
      shards,
      topics: topics.inputs,
      patienceMs: COMMITTED_WITHIN_MS,
      signal,
    });
    const transactions = await checkTransactions({
      logs,
      topics: all,
      patienceMs: options.patienceMs,
      say: steps.say,
      signal,
    });
    const ground: Ground = {
      deployment,
      topics,
      components: options.function.components,
      descriptors: options.function.descriptors,
      eventDestinations: options.eventDestinations,
      framed: options.framed,
      journal,
      shards,
      chunks,
      committed,
      committedBefore,
      logs,
      before,
      after: transactions.ranges,
      steps,
      signal,
    };
    const outputs = checkOutputs(ground);
    const inputs = checkInputs(ground);
    const passes = Math.max(1, Math.ceil((await identitiesOf(ground)) / (options.passIdentities ?? PASS_IDENTITIES)));
    for (let index = 0; index < passes; index++) {
      if (passes > 1) steps.say(`Pass ${index + 1} of ${passes}`);
      const traces = createTraces(index, passes);
      await outputs.pass(index, passes, traces);
      await inputs.pass(index, traces);
    }
    steps.begin('sequences of entities and shards', 2 * (await journal.countEvents()));
    const sequences = await checkSequences(journal, { shards, steps });
    const replay = await checkReplay({
      journal,
      components: options.function.components,
      descriptors: options.function.descriptors,
      sample: options.sample,
      observations: observationsOf(options),
      ignoresSnapshots: options.function.ignoresSnapshots,
      steps,
      signal,
    });
    const checks = [inputs.result(), sequences, outputs.result(), replay, transactions.result];
    return {
      deployment,
      at: at.toISOString(),
      held: checks.every(({ held }) => held),
      positions: [...shards.values()].flatMap(({ shard, applied }) =>
        Object.entries(applied).map(([topic, offset]) => positionOf(shard, topic, offset, committed)),
      ),
      checks,
    };
  } finally {
    await journal.close();
  }
}

function positionOf(
  shard: number,
  topic: string,
  applied: bigint,
  committed: ReadonlyMap<number, Positions>,
): JudgedPosition {
  const known = committed.get(shard)?.[topic];
  return { shard, topic, applied: `${applied}`, committed: known === undefined ? null : `${known}` };
}

function observationsOf({ function: fn, probes }: VerifyOptions) {
  const state = askForState(fn.client, fn.dialect, fn.deadlineMs);
  return [
    ...(state === undefined ? [] : [state]),
    ...probes.map((method) => probeWith(fn.client, fn.dialect, method, fn.deadlineMs)),
  ];
}

/** About how many identities there are to hold: what is on the output topics, and a trace for each record of the input. */
async function identitiesOf({ before, topics, shards, journal }: Ground): Promise<number> {
  let sum = await journal.countEvents();
  for (const topic of topics.outputs) {
    for (const { low, stable } of before.get(topic)?.values() ?? []) sum += Number(stable - low);
  }
  for (const { applied, countedFrom } of shards.values()) {
    for (const [topic, offset] of Object.entries(applied)) sum += Number(offset - (countedFrom[topic] ?? 0n));
  }
  return sum;
}
