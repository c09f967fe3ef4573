import type { Method } from './commands.ts';
import type { MutationName } from './mutations.ts';
import type { RunOptions } from './plan.ts';
import { type FaultRun, type RunResult, runFaults, type Stage } from './run.ts';

/** The shortest way to where a broken engine does harm that one which is not broken does not. */
interface MutationCheck {
  /** Methods of the commands that are sent; all where absent. */
  readonly only?: readonly Method[];
  /** At the doors; none where absent. */
  readonly callsPerSecond?: number;
  /** What is found, if it is this mutation's doing. */
  readonly evidence: RegExp;
  readonly script: (stage: Stage) => Promise<void>;
}

const POINT_WITHIN_MS = 20_000;
/** A while under load, in ms. */
const BEFORE_MS = 1_500;

const CHECKS: Readonly<Record<MutationName, MutationCheck>> = {
  'unguarded-journal': {
    evidence: /^(state|journal|doubled|lost)|ended by itself: JOURNAL_BEHIND/,
    // Their values are written over, where events of the same number are refused by their key.
    only: ['Put'],
    async script(stage) {
      const { slots, sender } = stage;
      await load(stage);
      const zombie = await stopAt(stage, 0, 'journaling');
      await stage.until(POINT_WITHIN_MS, () => ownsAll(stage, 1), 'the other engine has all shards');
      // It goes on until nothing is left of the chunk that the zombie is about to write.
      await load(stage, 6_000);
      await sender.pause();
      await stage.allDone();
      const rebuilds = zombie.rebuilds.length;
      zombie.kill('SIGCONT');
      await stage.until(POINT_WITHIN_MS, () => zombie.rebuilds.length > rebuilds, 'the zombie is found out');
      await Promise.all([slots.restart(0), slots.restart(1)]);
      sender.resume();
      await load(stage);
    },
  },
  'no-fence': {
    // It commits what is there twice then; or it notices first that it slept, and leaves open what nobody ends: readers stand still.
    evidence: /^doubled|outputs were missing/,
    async script(stage) {
      await load(stage);
      const zombie = await stopAt(stage, 0, 'sent');
      await stage.until(POINT_WITHIN_MS, () => ownsAll(stage, 1), 'the other engine has all shards');
      zombie.kill('SIGCONT');
      await load(stage);
    },
  },
  'offsets-before-fence': {
    evidence: /^doubled/,
    async script(stage) {
      await load(stage);
      const heir = engineOf(stage, 1);
      heir.arm({ point: 'fencing', nth: 1, signal: 'SIGSTOP' });
      const zombie = await stopAt(stage, 0, 'sent');
      await heir.reached('fencing');
      // Nobody has fenced it: it commits now, and only then the other one goes on.
      zombie.kill('SIGCONT');
      await load(stage, 2_000);
      heir.kill('SIGCONT');
      await load(stage);
    },
  },
  'outbox-forgotten': {
    evidence: /^lost/,
    async script(stage) {
      await load(stage);
      const engine = engineOf(stage, 0);
      engine.arm({ point: 'journaled', nth: 5, signal: 'SIGKILL' });
      await engine.exited;
      await load(stage);
    },
  },
  'two-in-flight': {
    evidence: /^(state|order|lost)/,
    script: (stage) => load(stage, 4_000),
  },
  'stale-entities': {
    evidence: /^(state|order|lost)/,
    script: loseWhatIsDecided,
  },
  'cached-reads': {
    evidence: /^linearizability: .* was over$/,
    callsPerSecond: 40,
    script: (stage) => load(stage, 4_000),
  },
  'early-answers': {
    evidence: /^linearizability/,
    callsPerSecond: 40,
    // It is decided anew, with the records of the two topics in another order.
    script: loseWhatIsDecided,
  },
  'sent-again': {
    evidence: /^doubled: call/,
    async script(stage) {
      const { sender, callers, injector, cluster } = stage;
      await load(stage);
      await sender.pause();
      await stage.allDone();
      // Nothing else is sent by this engine now.
      const heal = await injector.inject({
        at: 0,
        forMs: 0,
        fault: { kind: 'lose-answer', slot: 0, request: 'Produce', after: 'reset' },
      });
      await callers.call(0, { method: 'Add', id: 'counter-1', amount: 5, times: 1 });
      const lost = cluster.kafkaProxies[0]?.some(({ losses }) => losses.done > 0);
      if (lost !== true) throw new Error('no answer of the log was lost');
      await heal();
    },
  },
};

/** One engine decides much, and nothing of it is journaled. */
async function loseWhatIsDecided(stage: Stage): Promise<void> {
  await load(stage);
  const engine = engineOf(stage, 0);
  const rebuilds = engine.rebuilds.length;
  const trouble = (trouble: 'stall' | 'cut') =>
    stage.injector.inject({ at: 0, forMs: 0, fault: { kind: 'link', slot: 0, link: 'postgres', trouble } });
  const flow = await trouble('stall');
  await load(stage);
  const heal = await trouble('cut');
  await stage.until(POINT_WITHIN_MS, () => engine.rebuilds.length > rebuilds, 'a chunk could not be journaled');
  await flow();
  await heal();
  await load(stage, 4_000);
}

/** Lets the load go on for a while. */
function load(stage: Stage, ms = BEFORE_MS): Promise<void> {
  const enough = performance.now() + ms;
  return stage.until(ms + POINT_WITHIN_MS, () => performance.now() > enough, 'time passes');
}

function engineOf({ slots }: Stage, slot: number) {
  const engine = slots.engines[slot];
  if (engine === undefined) throw new Error(`there is no engine in slot ${slot}`);
  return engine;
}

async function stopAt(stage: Stage, slot: number, point: 'journaling' | 'sent') {
  const engine = engineOf(stage, slot);
  engine.arm({ point, nth: 5, signal: 'SIGSTOP' });
  await engine.reached(point);
  return engine;
}

async function ownsAll(stage: Stage, slot: number): Promise<boolean> {
  const status = await engineOf(stage, slot).status();
  return status?.shards.length === stage.partitions && status.shards.every(({ state }) => state === 'running');
}

/** Whether a result shows the harm that the mutation does. */
export function isCaught(name: MutationName, { violations }: RunResult): boolean {
  return violations.some((sentence) => CHECKS[name].evidence.test(sentence));
}

/** Carries out the check of a mutation, on an engine that is broken in this way or, as a control, on one that is not. */
export function checkMutation(
  name: MutationName,
  options: Pick<FaultRun, 'program' | 'log'> & { readonly broken: boolean; readonly seed: number },
): Promise<RunResult> {
  const { only, callsPerSecond, script } = CHECKS[name];
  const run: RunOptions = {
    seed: options.seed,
    minutes: 0,
    brokers: 1,
    engines: 2,
    perSecond: 120,
    callsPerSecond: callsPerSecond ?? 0,
    faults: [],
  };
  return runFaults({
    options: run,
    program: options.program,
    log: options.log,
    script,
    // What a broken engine loses does not come, however long it is waited for; and it may never come to rest.
    ...(options.broken && { silentForMs: 12_000, settlesWithinMs: 30_000 }),
    ...(only !== undefined && { only }),
    ...(options.broken && { mutation: name }),
  });
}
