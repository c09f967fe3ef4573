import { replay } from '../../src/commands/replay.ts';
import { loadConfig } from '../../src/config/load.ts';
import type { ReplayerOrder } from './replayer.ts';

/*
 * A process that publishes all events once more, or goes on with that. It may be killed at any time, and started again.
 */

const { config: assumed, topic } = JSON.parse(process.argv[2] ?? '') as ReplayerOrder;
const { config } = loadConfig({ argvFlags: {}, env: {}, cwd: '.', readFile: () => undefined, assumed });
const write = (text: string) => void process.stderr.write(text);
const code = await replay(
  config,
  {
    to: topic,
    name: 'again',
    component: undefined,
    entity: undefined,
    since: undefined,
    until: undefined,
    shard: undefined,
    format: 'json',
    outputs: false,
    perSecond: undefined,
    dryRun: false,
  },
  { signal: new AbortController().signal, out: { write }, err: { write } },
);
// As the command does: kafkajs may have lost sight of a socket while a broker was away.
process.exit(code);
