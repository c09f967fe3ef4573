import { Worker } from 'node:worker_threads';
import { Command } from 'commander';
import { readCorpus, writeCorpus } from './corpus.ts';
import { TARGET_NAMES } from './targets.ts';
import type { News, Work } from './worker.ts';

/*
 * `npm run test:fuzz`: see docs/security.md.
 */

const MAX_BYTES = 65_536;
/** An input that has not come to its end after so long hangs, in ms. */
const HANGS_AFTER_MS = 20_000;
const HEAP_MB = 768;

const program = new Command('test:fuzz')
  .description('Gives the parsers of foreign bytes inputs that no one sends, led by what of their code is reached.')
  .option('--target <names>', `of ${TARGET_NAMES.join(', ')}, with commas`, 'all')
  .option('--runs <n>', 'inputs for each target')
  .option('--minutes <m>', 'for each target', '1')
  .option('--seed <n>', 'the same seed makes the same choices', '1')
  .option('--keep', 'keep in test/fuzz/corpus the fewest inputs that reach what was reached');
program.parse();
const given = program.opts<{ target: string; runs?: string; minutes: string; seed: string; keep?: true }>();
const names = given.target === 'all' ? [...TARGET_NAMES] : given.target.split(',');
const unknown = names.find((name) => !TARGET_NAMES.includes(name));
if (unknown !== undefined) program.error(`--target: ${unknown} is none of ${TARGET_NAMES.join(', ')}`);

const say = (line: string): void => void process.stdout.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`);

let total = 0;
let findings = 0;
for (const target of names) {
  const ended = await fuzz(target);
  total += ended.runs;
  findings += ended.findings;
  say(`${target}: ${ended.runs} inputs, ${ended.corpus} kept, ${ended.features} features, ${ended.findings} findings`);
}
say(`${total} inputs, ${findings} findings`);
process.exitCode = findings > 0 ? 1 : 0;

async function fuzz(target: string): Promise<{ runs: number; corpus: number; features: number; findings: number }> {
  const shared = new SharedArrayBuffer(4 + MAX_BYTES);
  const length = new Int32Array(shared, 0, 1);
  const shown = new Uint8Array(shared, 4);
  const work: Work = {
    target,
    seed: Number(given.seed),
    corpus: readCorpus(target),
    shared,
    runs: given.runs === undefined ? Number.POSITIVE_INFINITY : Number(given.runs),
    until: given.runs === undefined ? Date.now() + Number(given.minutes) * 60_000 : Number.POSITIVE_INFINITY,
  };
  const worker = new Worker(new URL('./worker.js', import.meta.url), {
    workerData: work,
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
  });
  const state = { runs: 0, corpus: 0, features: 0, findings: 0 };
  const found = (input: Uint8Array, reason: string): void => {
    state.findings++;
    say(`${target}: FOUND ${Buffer.from(input).toString('base64')}\n${reason}`);
  };
  const now = (): Uint8Array => shown.slice(0, Math.max(0, Atomics.load(length, 0) - 1));

  return new Promise((resolve) => {
    let last: Uint8Array | undefined;
    const watch = setInterval(() => {
      const running = Atomics.load(length, 0) > 0 ? now() : undefined;
      if (running !== undefined && last !== undefined && Buffer.compare(running, last) === 0) {
        found(running, `it does not come to an end within ${HANGS_AFTER_MS} ms`);
        void worker.terminate();
      }
      last = running;
    }, HANGS_AFTER_MS);
    worker.on('message', (news: News) => {
      if (news.kind === 'corpus') {
        if (given.keep) writeCorpus(target, news.inputs);
      } else if (news.kind === 'finding') found(news.input, news.reason);
      else Object.assign(state, { runs: news.runs, corpus: news.corpus, features: news.features });
    });
    worker.on('error', (error) => found(now(), error.stack ?? error.message));
    worker.on('exit', () => {
      clearInterval(watch);
      resolve(state);
    });
  });
}
