import { runCli } from '../../src/cli/program.ts';
import { entityHistory } from '../../src/commands/inspect/entity-history.ts';
import { journal } from '../../src/commands/inspect/journal.ts';
import { controlled, operate } from '../../src/commands/operate.ts';
import { retention } from '../../src/commands/retention.ts';
import type { Assumed } from '../../src/config/load.ts';
import type { Printed } from './operator.ts';

/** A command line of a deployment, in the test's own process. */
export interface Cli {
  (...argv: string[]): Promise<Printed>;
  /** Starts it, to be ended by `signal`; `out` tells what it has printed so far. */
  start(signal: AbortSignal, ...argv: string[]): { readonly ended: Promise<Printed>; out(): string };
}

/** `stateferry …` as a user gives it, of the commands that read the journal. It is no terminal that it prints to. */
export function createCli(config: Assumed): Cli {
  const start: Cli['start'] = (signal, ...argv) => {
    let out = '';
    let err = '';
    const ended = runCli({
      argv: [...argv, '--name', String(config['deployment.name'])],
      env: { DATABASE_URL: String(config['postgres.url']), FUNCTION_URL: String(config['function.url']) },
      cwd: '/',
      version: '0',
      signal,
      out: {
        write: (text) => {
          out += text;
        },
      },
      err: {
        write: (text) => {
          err += text;
        },
      },
      commands: { journal, retention, entityHistory, operate, controlled },
    }).then((code) => ({ code, out, err }));
    return { ended, out: () => out };
  };
  return Object.assign((...argv: string[]) => start(new AbortController().signal, ...argv).ended, { start });
}
