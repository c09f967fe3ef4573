import { reprocess } from '../../src/commands/reprocess.ts';
import { withJournal } from '../../src/commands/with-journal.ts';
import { loadConfig } from '../../src/config/load.ts';
import { readGenerations } from '../../src/journal/generations.ts';
import { createLog } from '../../src/observe/log.ts';
import { promote } from '../../src/promote.ts';
import type { PromoterOrder } from './promoter.ts';

/*
 * A process that makes a generation from history, or goes on with one that was begun, and lets it serve. It may be killed at any
 * time, and started again.
 */

const { config: assumed, name } = JSON.parse(process.argv[2] ?? '') as PromoterOrder;
/** Longer than what is left to be handled when input begins to wait, on a machine with much to do. */
const HOLD_MS = 20_000;

const { config } = loadConfig({ argvFlags: {}, env: {}, cwd: '.', readFile: () => undefined, assumed });
const { signal } = new AbortController();
const write = (text: string) => void process.stderr.write(text);
const found = await withJournal(config, ({ pool }) => readGenerations(pool));
const generation = found.find((one) => one.name === name);
if (generation?.state === 'live') process.exit(0);
const request = generation
  ? ({ kind: 'run', name, follow: false } as const)
  : ({
      kind: 'start',
      name,
      functionUrl: undefined,
      // What every entity is given, and in which order, is what the topics have; else the checker had nothing to hold it against.
      mode: 'isolated',
      from: 'beginning',
      state: undefined,
      components: undefined,
      perSecond: undefined,
      follow: false,
    } as const);
const code = await reprocess(config, request, { signal, out: { write }, err: { write } });
if (code !== 0) process.exit(code);
process.stdout.write('made\n');
const log = createLog({ level: 'warn', format: 'json' });
await promote(
  { config, name, emitTo: undefined, holdMs: HOLD_MS, log, onStep: (step) => process.stdout.write(`${step}\n`) },
  signal,
);
// As the command does: kafkajs may have lost sight of a socket while a broker was away.
process.exit(0);
