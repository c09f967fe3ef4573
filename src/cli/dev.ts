import path from 'node:path';
import type { Command } from 'commander';
import { addConfigFlags, loadConfigOf } from './config-flags.ts';
import type { CommandContext, Commands } from './context.ts';
import { localRequest } from './local-request.ts';
import { partitionsOf } from './partitions-of.ts';

const DEFAULT_PARTITIONS = 8;

/** `stateferry dev`: a process next to the function that somebody is writing. */
export function devCommand(program: Command, context: CommandContext, dev: Commands['dev']): void {
  const command = program
    .command('dev')
    .summary('run next to the function you are writing; brings its own Kafka and Postgres')
    .usage('[options] [-- command...]')
    .description(
      'Run one process next to the function you are writing. Where no brokers or no database are configured, a local ' +
        'Kafka (it needs Java 17) or Postgres is started for as long as the command runs; its data stay in .stateferry ' +
        'here, and the next start goes on with them. Topics that are missing are created. With a command after --, ' +
        'that starts the function (HOST and PORT say where it is to listen) and starts it again when it ends and when ' +
        'a file changes; without one, start your function in another terminal. Either way it may come, go and change.',
    )
    .argument('[command...]', 'what starts the function, after --')
    .option('--watch <dir>', 'folder whose files restart the function, instead of this one; repeat as needed', collect)
    .option('--partitions <n>', 'partitions of input topics that are created', partitionsOf, DEFAULT_PARTITIONS)
    .addHelpText(
      'after',
      `
Examples:
  $ stateferry dev -- node index.js
  $ stateferry dev --watch src --function-url http://127.0.0.1:9000 -- npm start
  $ KAFKA_BROKERS=127.0.0.1:9092 stateferry dev --log-level debug`,
    );
  addConfigFlags(command, 'listed').action(
    async (words: string[], options: { watch?: string[]; partitions: number }) => {
      // Without the dashes, a mistyped flag's value would be taken for a program.
      if (words.length > 0 && !context.argv.includes('--')) {
        command.error(
          `error: put -- before the command that starts the function: stateferry dev -- ${words.join(' ')}`,
        );
      }
      const request = localRequest((assumed) => loadConfigOf(command, context, assumed));
      const { cwd, env } = context;
      const watch = (options.watch ?? ['.']).map((folder) => path.resolve(cwd, folder));
      context.exitWith(
        await dev(request, { cwd, env, command: words, watch, partitions: options.partitions }, context),
      );
    },
  );
}

function collect(folder: string, earlier: readonly string[] = []): string[] {
  return [...earlier, folder];
}
