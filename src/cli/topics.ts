import type { Command } from 'commander';
import { addConfigFlags, loadConfigOf } from './config-flags.ts';
import type { CommandContext, Commands } from './context.ts';

/** `stateferry topics`: what the deployment needs of Kafka. */
export function topicsCommand(program: Command, context: CommandContext, topics: Commands['topics']): void {
  const command = program
    .command('topics')
    .summary('list the topics that the deployment needs; create the missing ones')
    .description(
      'List the topics that the deployment needs, as the function’s annotations and the configuration name them, with ' +
        'their partitions and whether they are there. The function must be running: it is asked for its annotations. ' +
        'All input topics of a deployment need the same number of partitions.',
    )
    .option('--create', 'create the topics that are missing')
    .addHelpText(
      'after',
      `
Examples:
  $ stateferry topics
  $ stateferry topics --create --set kafka.replicationFactor=3`,
    );
  addConfigFlags(command, 'not listed').action(async (options: { create?: true }) => {
    const { config } = loadConfigOf(command, context);
    context.exitWith(await topics(config, { create: options.create === true }, context));
  });
}
