#!/usr/bin/env node
import { constants } from 'node:os';
import { createInterface } from 'node:readline';
import { runCli } from './cli/program.ts';
import { acl } from './commands/acl.ts';
import { deadLetters } from './commands/dead-letters.ts';
import { dev } from './commands/dev.ts';
import { diff } from './commands/diff.ts';
import { entityDebug } from './commands/entity-debug.ts';
import { entityHistory } from './commands/inspect/entity-history.ts';
import { journal } from './commands/inspect/journal.ts';
import { archive } from './commands/journal-export.ts';
import { controlled, operate } from './commands/operate.ts';
import { promote } from './commands/promote.ts';
import { replay } from './commands/replay.ts';
import { reprocess } from './commands/reprocess.ts';
import { retention } from './commands/retention.ts';
import { run } from './commands/run.ts';
import { schemas } from './commands/schemas.ts';
import { snapshots } from './commands/snapshots.ts';
import { topics } from './commands/topics.ts';
import { verify } from './commands/verify.ts';
import { demo } from './demo/demo.ts';
import { version } from './version.ts';
import { writeTrouble } from './writing.ts';

/** npm passes Ctrl-C on to a process that the terminal has told already: that is one wish, not two. */
const SAME_WISH_MS = 500;

const stop = new AbortController();
let askedAt: number | undefined;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (askedAt !== undefined && performance.now() - askedAt > SAME_WISH_MS) {
      process.exit(128 + constants.signals[signal]);
    }
    askedAt ??= performance.now();
    stop.abort();
  });
}
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    // The reader has gone, as `| head` does: nobody is left to tell.
    if (error.code === 'EPIPE') process.exit(0);
    const sentence = writeTrouble('The output', error);
    if (sentence === undefined || stream === process.stderr) throw error;
    process.stderr.write(`stateferry: ${sentence}\n`, () => process.exit(1));
  });
}

let lines: AsyncIterator<string> | undefined;
/** The next line of the standard input. */
async function enter(signal: AbortSignal): Promise<boolean> {
  lines ??= createInterface({ input: process.stdin, signal })[Symbol.asyncIterator]();
  return (await lines.next()).done !== true;
}

const code = await runCli({
  argv: process.argv.slice(2),
  env: process.env,
  cwd: process.cwd(),
  version: version(),
  signal: stop.signal,
  out: process.stdout,
  err: process.stderr,
  enter,
  commands: {
    run,
    dev,
    demo,
    topics,
    schemas,
    acl,
    operate,
    controlled,
    journal,
    entityHistory,
    entityDebug,
    archive,
    retention,
    snapshots,
    deadLetters,
    replay,
    reprocess,
    diff,
    promote,
    verify,
  },
});
process.stdout.write('', () => process.exit(code));
