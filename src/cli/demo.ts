import type { Command } from 'commander';
import { loadConfig } from '../config/load.ts';
import type { CommandContext, Commands } from './context.ts';
import { localRequest } from './local-request.ts';

/** `stateferry demo`: everything at work on this machine, nothing to set up and nothing to configure. */
export function demoCommand(program: Command, context: CommandContext, demo: Commands['demo']): void {
  program
    .command('demo')
    .summary('see it work: Kafka, Postgres and an example function, all on this machine')
    .description(
      'Start a local Kafka (it needs Java 17), a local Postgres and an example function, send it messages and show ' +
        'what comes out. It listens on 127.0.0.1 only, and reads no config file and no environment variable, so that ' +
        'it never touches a Kafka or Postgres of yours.',
    )
    .addHelpText('after', '\nExample:\n  $ stateferry demo')
    .action(async () => {
      const request = localRequest((assumed) =>
        loadConfig({ argvFlags: {}, env: {}, cwd: context.cwd, readFile: () => undefined, assumed }),
      );
      context.exitWith(await demo(request, context));
    });
}
