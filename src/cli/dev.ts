import type { Command } from 'commander';
import { addConfigFlags, loadConfigOf } from './config-flags.ts';
import type { CommandContext, Commands } from './context.ts';
import { localRequest } from './local-request.ts';

/** `stateferry dev`: a process next to the function that somebody is writing. */
export function devCommand(program: Command, context: CommandContext, dev: Commands['dev']): void {
  const command = program
    .command('dev')
    .summary('run next to the function you are writing; brings its own Kafka and Postgres')
    .description(
      'Run one process next to the function you are writing. Where no brokers or no database are configured, a local ' +
        'Kafka (it needs Java 17) or Postgres is started for as long as the command runs, and its address is printed. ' +
        'Start your function in another terminal: it may come, go and change while this goes on.',
    )
    .addHelpText(
      'after',
      `
Examples:
  $ stateferry dev
  $ stateferry dev --function-url http://127.0.0.1:9000 --log-level debug
  $ KAFKA_BROKERS=127.0.0.1:9092 stateferry dev`,
    );
  addConfigFlags(command, 'listed').action(async () => {
    const request = localRequest((assumed) => loadConfigOf(command, context, assumed));
    context.exitWith(await dev(request, context));
  });
}
