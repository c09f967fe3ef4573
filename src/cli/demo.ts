import { type Command, Option } from 'commander';
import { loadConfig } from '../config/load.ts';
import type { CommandContext, Commands } from './context.ts';
import { localRequest } from './local-request.ts';

/** `stateferry demo`: everything at work on this machine, killed and checked; nothing to set up or configure. */
export function demoCommand(program: Command, context: CommandContext, demo: Commands['demo']): void {
  program
    .command('demo')
    .summary('see it work: 20,000 messages, two kills, every output checked')
    .description(
      'Start a local Kafka (it needs Java 17), a local Postgres, an example function and the engine, send 20,000 real ' +
        'flights through them, kill the engine and the function with SIGKILL on the way, and check every output, event ' +
        'and position against a computation of its own. Everything listens on 127.0.0.1 only. Of the environment it ' +
        'reads KAFKA_BROKERS and DATABASE_URL, to run on those instead; there it refuses to touch what exists already, ' +
        'and removes what it made. It reads no config file. The exit code is 0 only if everything held.',
    )
    .option(
      '--history',
      'show the other thing instead: give the past to a second version of the function, compare, let it serve, go back',
    )
    .addOption(
      new Option(
        '--avro',
        'with Avro in and Avro out, over a local schema registry (it is fetched the first time, 140 MB)',
      ).conflicts('history'),
    )
    .option('--keep', 'leave everything running after the check, until Ctrl-C, to try things by hand')
    .addHelpText(
      'after',
      '\nExamples:\n  $ stateferry demo\n  $ stateferry demo --keep\n  $ stateferry demo --avro\n  $ stateferry demo --history',
    )
    .action(
      async ({
        keep = false,
        history = false,
        avro = false,
      }: {
        keep?: boolean;
        history?: boolean;
        avro?: boolean;
      }) => {
        const { KAFKA_BROKERS, DATABASE_URL } = context.env;
        const request = localRequest((assumed) =>
          loadConfig({
            argvFlags: {},
            env: { KAFKA_BROKERS, DATABASE_URL },
            cwd: context.cwd,
            readFile: () => undefined,
            assumed,
          }),
        );
        context.exitWith(await demo(request, { env: context.env, keep, history, avro }, context));
      },
    );
}
