import type { Command } from 'commander';
import { addConfigFlags, loadConfigOf } from './config-flags.ts';
import type { CommandContext, Commands } from './context.ts';

/** `stateferry run`: a process of the deployment against the configured Kafka, Postgres and function. */
export function runCommand(program: Command, context: CommandContext, run: Commands['run']): void {
  const command = program
    .command('run')
    .summary('run a process of the deployment against your Kafka and Postgres')
    .description(
      'Run one process of the deployment: it takes its share of the input topics, calls the function, writes the ' +
        'journal and the output topics. Start as many as you like, on as many machines; they share the work. ' +
        'SIGTERM or Ctrl-C lets it finish what it has begun; a second Ctrl-C ends it at once.',
    )
    .addHelpText(
      'after',
      `
Examples:
  $ export KAFKA_BROKERS=127.0.0.1:9092 DATABASE_URL=postgres://app:secret@127.0.0.1/app
  $ stateferry run --function-url http://127.0.0.1:8080
  $ stateferry run --config production.yaml --set kafka.start=latest`,
    );
  addConfigFlags(command, 'listed').action(async () => {
    const { config } = loadConfigOf(command, context);
    context.exitWith(await run(config, context));
  });
}
