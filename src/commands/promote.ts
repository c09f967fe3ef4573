import type { Io, PromoteRequest } from '../cli/context.ts';
import type { Config } from '../config/config.ts';
import { emitDifferences, openEmission } from '../emit-differences.ts';
import { createLog, type Log } from '../observe/log.ts';
import { promote as takeOver } from '../promote.ts';
import { createSteps } from './verify-steps.ts';
import { withJournal } from './with-journal.ts';

const STOPPED = 1;

/** `stateferry promote`: 0 when the generation serves, and what differs is published; 1 when that was stopped before. */
export async function promote(config: Config, request: PromoteRequest, io: Io): Promise<number> {
  const { name, holdMs, emitTo } = request;
  const log = createLog({ ...config.log, level: 'error' });
  const emission = await withJournal(config, ({ pool }) => openEmission(pool, { name, topic: emitTo }));
  if (emission === 'none') {
    const onStep = (sentence: string) => io.err.write(`${sentence}\n`);
    const { heldMs, positions, retired } = await takeOver({ config, name, holdMs, emitTo, log, onStep }, io.signal);
    io.out.write(`Generation ${name} serves. Input waited for ${Math.round(heldMs).toLocaleString('en')} ms.\n`);
    for (const [shard, topics] of positions) {
      const places = Object.entries(topics).map(([topic, offset]) => `${topic} ${offset}`);
      io.out.write(`  shard ${shard} from ${places.join(', ')}\n`);
    }
    io.out.write(`Back: stateferry promote ${retired}\n`);
  }
  return emitTo === undefined ? 0 : emit(config, { name, topic: emitTo }, log, io);
}

async function emit(
  config: Config,
  { name, topic }: { readonly name: string; readonly topic: string },
  log: Log,
  io: Io,
): Promise<number> {
  const steps = createSteps(io.err);
  let published = 0;
  let step = '';
  let shown = 0;
  try {
    await emitDifferences(
      {
        config,
        name,
        topic,
        log,
        onNote: (note) => io.err.write(`${note}\n`),
        onProgress(now, items) {
          if (now !== step) {
            steps.begin(now, 0);
            shown = 0;
          }
          step = now;
          steps.count('items', items - shown);
          shown = items;
        },
        onRecords(records) {
          published += records;
        },
      },
      io.signal,
    );
  } catch (error) {
    if (!io.signal.aborted) throw error;
    steps.end();
    io.out.write(
      `Stopped after ${published.toLocaleString('en')} outputs of the past. The same command goes on there.\n`,
    );
    return STOPPED;
  } finally {
    steps.end();
  }
  io.out.write(`${published.toLocaleString('en')} outputs of the past that differ are published to ${topic}.\n`);
  return 0;
}
