import type { Io, PromoteRequest } from '../cli/context.ts';
import type { Config } from '../config/config.ts';
import { createLog } from '../observe/log.ts';
import { promote as takeOver } from '../promote.ts';

/** `stateferry promote`: 0 when the generation serves. */
export async function promote(config: Config, { name, holdMs }: PromoteRequest, io: Io): Promise<number> {
  const log = createLog({ ...config.log, level: 'error' });
  const onStep = (sentence: string) => io.err.write(`${sentence}\n`);
  const { heldMs, positions, retired } = await takeOver({ config, name, holdMs, log, onStep }, io.signal);
  io.out.write(`Generation ${name} serves. Input waited for ${Math.round(heldMs).toLocaleString('en')} ms.\n`);
  for (const [shard, topics] of positions) {
    const places = Object.entries(topics).map(([topic, offset]) => `${topic} ${offset}`);
    io.out.write(`  shard ${shard} from ${places.join(', ')}\n`);
  }
  io.out.write(`Back: stateferry promote ${retired}\n`);
  return 0;
}
