import { type FunctionProcess, startFunction } from '../support/function-process.ts';
import type { Scope } from '../support/scope.ts';
import { FUNCTIONS } from './plan.ts';

const SOURCE = {
  folder: 'test/fault/function',
  sdk: '@kalix-io/kalix-javascript-sdk',
  dialect: 'kalix',
} as const;

/** The functions of a run: the same function, each in a process of its own. */
export interface FunctionNodes {
  /** Ports of 127.0.0.1; they stay. */
  readonly ports: readonly number[];
  kill(fn: number, signal: NodeJS.Signals): void;
  /** Starts it where it was, unless it runs. */
  revive(fn: number): Promise<void>;
  /** Ends it, and starts it in the other version, which has one more component. */
  exchange(fn: number): Promise<void>;
}

export async function startFunctions(t: Scope): Promise<FunctionNodes> {
  const versions = Array.from({ length: FUNCTIONS }, () => 1);
  const processes: FunctionProcess[] = [];
  const gone = new Set<FunctionProcess>();
  let turn: Promise<void> = Promise.resolve();

  async function start(fn: number, port?: number): Promise<void> {
    const process = await startFunction(t, {
      source: SOURCE,
      env: { BANK_VERSION: String(versions[fn]) },
      ...(port !== undefined && { port }),
    });
    void process.exited.then(() => gone.add(process));
    processes[fn] = process;
  }
  const inTurn = (work: () => Promise<void>): Promise<void> => {
    const done = turn.then(work);
    turn = done.catch(() => undefined);
    return done;
  };

  for (let fn = 0; fn < FUNCTIONS; fn++) await start(fn);
  const of = (fn: number) => processes[fn] as FunctionProcess;
  t.onTestFinished(() => turn);
  return {
    ports: processes.map(({ port }) => port),
    kill: (fn, signal) => of(fn).kill(signal),
    revive: (fn) =>
      inTurn(async () => {
        of(fn).kill('SIGCONT');
        if (gone.has(of(fn))) await start(fn, of(fn).port);
      }),
    exchange: (fn) =>
      inTurn(async () => {
        await of(fn).stop();
        versions[fn] = 3 - (versions[fn] ?? 1);
        await start(fn, of(fn).port);
      }),
  };
}
