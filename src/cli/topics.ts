import type { Command } from 'commander';
import { addConfigFlags, loadConfigOf } from './config-flags.ts';
import type { CommandContext, Commands } from './context.ts';
import { configWithoutDatabase } from './local-request.ts';
import { partitionsOf } from './partitions-of.ts';

/** `stateferry topics`: what the deployment needs of Kafka. */
export function topicsCommand(program: Command, context: CommandContext, topics: Commands['topics']): void {
  const command = program
    .command('topics')
    .summary('list the topics that the deployment needs; create the missing ones')
    .description(
      'List the topics that the deployment needs, as the function’s annotations and the configuration name them, with ' +
        'their partitions and whether they are there. The function must be running: it is asked for its annotations. ' +
        'All input topics of a deployment need the same number of partitions. The exit code is 1 where `run` would ' +
        'refuse to start on them.',
    )
    .option('--create', 'create the topics that are missing')
    .option(
      '--partitions <n>',
      'partitions of input topics to create; without it as many as others have, or 8',
      partitionsOf,
    )
    .addHelpText(
      'after',
      `
Examples:
  $ stateferry topics
  $ stateferry topics --create --partitions 32 --set kafka.replicationFactor=3`,
    );
  addConfigFlags(command, 'not listed').action(async (options: { create?: true; partitions?: number }) => {
    const config = configWithoutDatabase((assumed) => loadConfigOf(command, context, assumed));
    const { create = false, partitions } = options;
    context.exitWith(await topics(config, { create, ...(partitions !== undefined && { partitions }) }, context));
  });
}
