import { setTimeout as delay } from 'node:timers/promises';
import type { Admin } from 'kafkajs';
import { type Config, internalTopics } from './config/config.ts';
import { checkTarget } from './emit-differences.ts';
import { StateferryError } from './errors.ts';
import { type RestOptions, restOf } from './history/at-rest.ts';
import { readReach } from './journal/chunks.ts';
import { findGeneration, readGenerations, setGenerationState } from './journal/generations.ts';
import { dropHeld, holdOutputs, readEmission } from './journal/held-outputs.ts';
import { createPool } from './journal/pool.ts';
import {
  countPausedEntities,
  dropHeldOutputs,
  hasServed,
  holdInput,
  releaseInput,
  switchGenerations,
} from './journal/switch.ts';
import { connectKafka } from './kafka-connection.ts';
import type { Positions } from './model/record.ts';
import type { Log } from './observe/log.ts';
import { postgresServer } from './postgres-connection.ts';
import { generationCommands, generationGroup, reprocess } from './reprocess.ts';
import { registerCodecs } from './topics/codecs.ts';
import { partitionCounts } from './topics/ensure.ts';
import { openPartitionLogs } from './topics/partition-log.ts';

/** Input that the new generation may be behind when the old one is held: it is made up for in well under a second. */
const CLOSE_RECORDS = 500;
const LOOK_MS = 100;
/** How long input is held without a word of ours; whoever promotes may die. */
const LEASE_MS = 10_000;
const RENEW_MS = 2_000;

export interface PromoteOptions {
  readonly config: Config;
  readonly name: string;
  /** Topic for what differs of its outputs of the past (emit-differences.ts); undefined: nothing is kept of them. */
  readonly emitTo: string | undefined;
  /** How long input may be held until both generations stand still, in ms. */
  readonly holdMs: number;
  readonly log: Log;
  readonly onStep: (sentence: string) => void;
}

/** What a promotion did. */
export interface Promotion {
  /** How long input waited, in ms. */
  readonly heldMs: number;
  /** Where each shard's input was handed over: shard → topic → next offset. */
  readonly positions: ReadonlyMap<number, Positions>;
  /** By this name the generation that served until then can be promoted again. */
  readonly retired: string;
}

/**
 * Lets a generation serve in the place of the one whose history it is made of, at an exact position of every input: what
 * was before is done by the old one, with all that follows from it, what comes after by the new one.
 * @throws StateferryError OPERATION_REFUSED where it cannot take over, or they did not stand still in time. The old one
 * serves on then.
 */
export async function promote(options: PromoteOptions, signal: AbortSignal): Promise<Promotion> {
  const { config, name, emitTo, onStep } = options;
  registerCodecs();
  const pool = createPool({
    ...postgresServer(config),
    schema: config.postgres.schema,
    size: 3,
    statementTimeoutMs: config.postgres.statementTimeoutMs,
    applicationName: `stateferry promote ${name}`,
    onIdleError: () => undefined,
  });
  const kafka = connectKafka(config, options.log);
  const admin = kafka.admin();
  const closing: (() => Promise<unknown>)[] = [() => pool.end()];
  let maker: ReturnType<typeof startMaker> | undefined;
  try {
    const found = await findGeneration(pool, name);
    if (found.state === 'live') throw refused(`generation "${name}" serves already.`);
    if (found.state === 'copying') {
      throw refused(`generation "${name}" does not have all of the state yet that it begins with.`);
    }
    if (found.options.components !== undefined) {
      throw refused(
        `generation "${name}" was given the commands of some components alone: the others would begin empty.`,
      );
    }
    const { generation: to, source: from, mode } = found;
    if (emitTo !== undefined && (await hasServed(pool, to))) {
      throw refused(
        `generation "${name}" has served before: what it would have published since cannot be told from what it did publish. Promote it without --emit-differences.`,
      );
    }
    const given = await readEmission(pool, from);
    if (given !== undefined) {
      onStep(`what was still to be published to ${given.topic} of the generation that serves is given up with it`);
    }
    const paused = await countPausedEntities(pool, from);
    if (paused > 0) {
      throw refused(
        `${paused} entities are paused, and what waits for them is the old generation's: resume them first (stateferry entity list).`,
      );
    }
    // One that has served goes on from where it stopped.
    await setGenerationState(pool, to, ['retired'], 'paused');
    await admin.connect();
    closing.push(() => admin.disconnect());
    if (emitTo !== undefined) await checkTarget(config, admin, pool, { generation: from, topic: emitTo });
    const deployment = config.deployment.name;
    const commands = internalTopics(config).commands;
    const madeCommands = generationCommands(deployment, name);
    maker = startMaker(options);
    onStep(`${name} is made of what it has not seen yet`);
    await Promise.race([maker.failed, untilClose(pool, from, to, signal)]);
    await Promise.race([maker.failed, untilThere(admin, madeCommands, signal)]);
    if (emitTo === undefined) await dropHeld(pool, to);
    else await holdOutputs(pool, to, await shardsOf(pool, to));
    const logs = await openPartitionLogs(kafka, [commands, madeCommands]);
    closing.push(() => logs.close());
    const at = { pool, admin, logs, signal };
    const old: RestOptions = { ...at, generation: from, groupId: deployment, commands };
    const made: RestOptions = {
      ...at,
      generation: to,
      groupId: generationGroup(deployment, name),
      commands: madeCommands,
    };

    onStep('input waits');
    const began = performance.now();
    const renewal = startLease(pool, from);
    try {
      while (performance.now() - began < options.holdMs) {
        const rest = await restOf(old);
        const isMade =
          rest !== undefined &&
          (await hasReached(pool, to, rest)) &&
          (mode === 'isolated' || (await restOf(made)) !== undefined);
        if (!isMade || rest === undefined) {
          await Promise.race([maker.failed, delay(LOOK_MS, undefined, { signal })]);
          continue;
        }
        await maker.stop();
        const retired = await nameOf(pool, from);
        const switched = await switchGenerations(pool, {
          from,
          to,
          retiredName: retired,
          retiredUrl: config.function.url,
          rest,
          madeCommands,
          emitTo,
        });
        if (switched) {
          const heldMs = performance.now() - began;
          await dropHeldOutputs(pool, to);
          if (given !== undefined) await dropHeld(pool, from);
          return { heldMs, positions: rest, retired };
        }
        maker = startMaker(options);
      }
      await dropHeld(pool, to);
      throw refused(
        `the generations did not stand still within ${options.holdMs} ms: a process of the deployment does not answer, or entities go on sending each other commands. The old one serves on.`,
      );
    } finally {
      renewal.stop();
      await releaseInput(pool);
    }
  } finally {
    await maker?.stop();
    for (const close of closing.reverse()) await close().catch(() => undefined);
  }
}

function refused(sentence: string): StateferryError {
  return new StateferryError('OPERATION_REFUSED', sentence);
}

async function shardsOf(pool: PromotePool, generation: number): Promise<number[]> {
  return (await readReach(pool, generation)).map(({ shard }) => shard);
}

/** Makes the generation, following its source, until it is stopped. */
function startMaker({ config, name, log }: PromoteOptions): { readonly failed: Promise<never>; stop(): Promise<void> } {
  const stopping = new AbortController();
  const ended = reprocess({ config, name, follow: true, log }, stopping.signal);
  const failed = ended.then((outcome): never => {
    throw refused(`generation "${name}" is ${outcome} while it is promoted.`);
  });
  failed.catch(() => undefined);
  return {
    failed,
    async stop() {
      stopping.abort();
      await ended.catch(() => undefined);
    },
  };
}

async function untilClose(pool: PromotePool, from: number, to: number, signal: AbortSignal): Promise<void> {
  for (;;) {
    const made = new Map((await readReach(pool, to)).map(({ shard, applied }) => [shard, applied]));
    let behind = 0;
    for (const { shard, applied } of await readReach(pool, from)) {
      for (const [topic, offset] of Object.entries(applied))
        behind += Number(offset - (made.get(shard)?.[topic] ?? 0n));
    }
    if (behind <= CLOSE_RECORDS) return;
    await delay(LOOK_MS, undefined, { signal });
  }
}

/** The maker creates it. */
async function untilThere(admin: Admin, topic: string, signal: AbortSignal): Promise<void> {
  while (!(await partitionCounts(admin, [topic])).has(topic)) await delay(LOOK_MS, undefined, { signal });
}

type PromotePool = Parameters<typeof readGenerations>[0];

async function hasReached(
  pool: PromotePool,
  generation: number,
  rest: ReadonlyMap<number, Positions>,
): Promise<boolean> {
  const made = await readReach(pool, generation);
  return made.every(({ shard, applied }) =>
    Object.entries(rest.get(shard) ?? {}).every(([topic, offset]) => applied[topic] === offset),
  );
}

/** The name by which a generation can be found: its own, or one that none has. */
async function nameOf(pool: PromotePool, generation: number): Promise<string> {
  const all = await readGenerations(pool);
  const own = all.find((one) => one.generation === generation);
  if (own !== undefined) return own.name;
  const short = `g${generation}`;
  return all.some(({ name }) => name === short) ? `generation-${generation}` : short;
}

/** Holds input until it is stopped. */
function startLease(pool: PromotePool, generation: number): { stop(): void } {
  const hold = () => void holdInput(pool, generation, LEASE_MS).catch(() => undefined);
  hold();
  const timer = setInterval(hold, RENEW_MS);
  return { stop: () => clearInterval(timer) };
}
