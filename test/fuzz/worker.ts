import { register } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import { createRandom } from '../support/random.ts';
import type { Coverage } from './coverage.ts';
import { mutate } from './mutate.ts';
import type { FuzzTarget } from './target.ts';

/** What main.ts starts a worker with. */
export interface Work {
  readonly target: string;
  readonly seed: number;
  readonly corpus: readonly Uint8Array[];
  /** Holds the input that runs, behind its length, so that it is known when nothing comes of it any more. */
  readonly shared: SharedArrayBuffer;
  readonly runs: number;
  /** Milliseconds since the epoch. */
  readonly until: number;
}

/** What a worker tells. */
export type News =
  | { readonly kind: 'progress'; readonly runs: number; readonly corpus: number; readonly features: number }
  /** The fewest and shortest inputs that reach everything that was reached. */
  | { readonly kind: 'corpus'; readonly inputs: readonly Uint8Array[] }
  | { readonly kind: 'finding'; readonly input: Uint8Array; readonly reason: string }
  | { readonly kind: 'end'; readonly runs: number; readonly corpus: number; readonly features: number };

/** An input that takes longer than this, and 20 µs for each of its bytes, in ms, three times in a row, is a finding. */
const SLOW_MS = 250;
const SLOW_MS_PER_BYTE = 0.02;
/** Bytes that an input may make the process allocate, and those for each of its bytes. */
const LARGE_BYTES = 64 * 1024 * 1024;
const LARGE_PER_BYTE = 8 * 1024;
const PROGRESS_RUNS = 20_000;

const port = parentPort;
if (port === null) throw new Error('this is a worker of main.ts');
const work = workerData as Work;
const tell = (news: News): void => port.postMessage(news);

register('./instrument.js', import.meta.url);
const { targets } = await import('./targets.js');
const { createCoverage } = await import('./coverage.js');
const create = targets[work.target];
if (create === undefined) throw new Error(`there is no target ${work.target}`);
await explore(await create(), createCoverage({ counts: true }));

async function explore(target: FuzzTarget, coverage: Coverage): Promise<void> {
  const { maxBytes = 4_096 } = target;
  const random = createRandom(work.seed);
  const words = target.words.map((word) => Buffer.from(word, 'latin1'));
  const length = new Int32Array(work.shared, 0, 1);
  const shown = new Uint8Array(work.shared, 4);
  const corpus: Buffer[] = [];
  const reasons = new Set<string>();
  let runs = 0;

  async function run(input: Buffer): Promise<void> {
    shown.set(input);
    Atomics.store(length, 0, input.length + 1);
    const begin = performance.now();
    try {
      const pending = target.run(Buffer.from(input));
      if (pending !== undefined) await pending;
    } catch (error) {
      const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
      // One of each place is enough.
      const place = reason
        .split('\n')
        .filter((line) => line.startsWith('    at'))
        .slice(0, 3)
        .join();
      if (!reasons.has(place)) {
        reasons.add(place);
        tell({ kind: 'finding', input, reason });
      }
    }
    const took = performance.now() - begin;
    if (took > SLOW_MS + SLOW_MS_PER_BYTE * input.length) await judgeSlow(input);
    Atomics.store(length, 0, 0);
    runs++;
  }

  /** Other work on the machine makes an input slow once, not every time. */
  async function judgeSlow(input: Buffer): Promise<void> {
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 3; i++) {
      const begin = performance.now();
      await Promise.resolve()
        .then(() => target.run(Buffer.from(input)))
        .catch(() => undefined);
      least = Math.min(least, performance.now() - begin);
    }
    if (least > SLOW_MS + SLOW_MS_PER_BYTE * input.length && !reasons.has('slow')) {
      reasons.add('slow');
      tell({ kind: 'finding', input, reason: `it takes ${Math.round(least)} ms for ${input.length} bytes` });
    }
  }

  async function judgeMemory(input: Buffer): Promise<void> {
    const before = process.memoryUsage();
    await Promise.resolve()
      .then(() => target.run(Buffer.from(input)))
      .catch(() => undefined);
    const after = process.memoryUsage();
    const grown = after.heapUsed - before.heapUsed + (after.arrayBuffers - before.arrayBuffers);
    if (grown > LARGE_BYTES + LARGE_PER_BYTE * input.length && !reasons.has('large')) {
      reasons.add('large');
      tell({ kind: 'finding', input, reason: `it makes ${grown} bytes of ${input.length}` });
    }
  }

  for (const given of [...target.seeds, ...work.corpus]) {
    const input = Buffer.from(given).subarray(0, maxBytes);
    coverage.reset();
    await run(input);
    if (coverage.isNew() || corpus.length === 0) corpus.push(input);
  }
  while (runs < work.runs && Date.now() < work.until) {
    for (let i = 0; i < 256; i++) {
      // The newest are the least explored.
      const from =
        random.int(2) === 0 ? random.int(corpus.length) : corpus.length - 1 - random.int(Math.min(corpus.length, 32));
      const input = mutate(random, corpus[from] as Buffer, corpus, words, maxBytes);
      await run(input);
      if (coverage.isNew()) {
        corpus.push(input);
        await judgeMemory(input);
        coverage.reset();
      }
      if (runs % PROGRESS_RUNS === 0) {
        tell({ kind: 'progress', runs, corpus: corpus.length, features: coverage.features() });
      }
    }
  }
  const reached = createCoverage({ counts: false });
  const inputs: Buffer[] = [];
  for (const input of corpus.sort((a, b) => a.length - b.length)) {
    reached.reset();
    await run(input);
    if (reached.isNew()) inputs.push(input);
  }
  tell({ kind: 'corpus', inputs });
  tell({ kind: 'end', runs, corpus: corpus.length, features: coverage.features() });
}
