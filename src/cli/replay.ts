import { type Command, InvalidArgumentError, Option } from 'commander';
import { addConfigFlags, loadConfigOf } from './config-flags.ts';
import type { CommandContext, Commands } from './context.ts';
import { timeOf } from './points.ts';

interface ReplayGiven {
  to: string;
  replay?: string;
  component?: string;
  entity?: string;
  since?: number;
  until?: number;
  shard?: number;
  format: 'json' | 'protobuf';
  outputs?: string | true;
  rate?: number;
  dryRun?: true;
}

/** `stateferry replay`: what was journaled, published once more. */
export function replayCommand(program: Command, context: CommandContext, act: Commands['replay']): void {
  const command = program
    .command('replay')
    .summary('publish journaled events or outputs once more, to another topic')
    .description(
      'Publish the state events of the journal, or outputs that its outbox still has, to a topic of your choice: each once, in ' +
        'order per entity, with keys and headers as they were, and the header stateferry-replay. No function is called. What was ' +
        'interrupted goes on exactly where it stopped, by the same command.',
    )
    .requiredOption('--to <topic>', 'where to; it must be there, and be no input of the deployment')
    .option(
      '--replay <name>',
      'what to call it; by the same name it goes on, by another it begins; default: made of what is asked for',
      nameOf,
    )
    .option('--component <type>', 'events of this entity type')
    .option('--entity <id>', 'of this entity')
    .option('--since <time>', 'from then on: 30m, 2h, 7d, or a time such as 2026-01-31T12:00:00Z', timeOf)
    .option('--until <time>', 'before then', timeOf)
    .option('--shard <n>', 'of this shard', countOf)
    .addOption(
      new Option('--format <format>', 'how protobuf events are written').choices(['json', 'protobuf']).default('json'),
    )
    .option('--outputs [topic]', 'recorded outputs instead of events; with a topic, what was published there')
    .option('--rate <n>', 'records a second at most', countOf)
    .option('--dry-run', 'count what would be published')
    .addHelpText(
      'after',
      `
Examples:
  $ stateferry replay --to carts-again --component carts --dry-run
  $ stateferry replay --to carts-again --component carts --since 7d --rate 2000
  $ stateferry replay --to replies-again --outputs replies`,
    );
  addConfigFlags(command, 'not listed').action(async (given: ReplayGiven) => {
    const { config } = loadConfigOf(command, context);
    context.exitWith(
      await act(
        config,
        {
          to: given.to,
          name: given.replay,
          component: given.component,
          entity: given.entity,
          since: given.since,
          until: given.until,
          shard: given.shard,
          format: given.format,
          outputs: given.outputs ?? false,
          perSecond: given.rate,
          dryRun: given.dryRun === true,
        },
        context,
      ),
    );
  });
}

function nameOf(text: string): string {
  if (/^[a-z0-9][a-z0-9._-]{0,39}$/i.test(text)) return text;
  throw new InvalidArgumentError('It is not of 1 to 40 letters, digits, dots, dashes and underscores.');
}

function countOf(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It is not a number.');
}
