import type { Command } from 'commander';
import { configurationPage } from '../config/page.ts';
import { printConfig } from '../config/print.ts';
import { addConfigFlags, loadConfigOf } from './config-flags.ts';
import type { CommandContext } from './context.ts';

/** `stateferry config`: check the configuration and show it, or describe all of it. */
export function configCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('config')
    .summary('check the configuration and show each value with its source')
    .description(
      'Check the configuration as `run` would and print it as a config file, each value with the place it comes from; ' +
        'passwords are masked. Nothing is started. The exit code is 2 when there is a fault.',
    )
    .option('--docs', 'print the reference of all options (Markdown) instead')
    .addHelpText(
      'after',
      `
Examples:
  $ stateferry config --config production.yaml
  $ stateferry config --docs | less`,
    );
  addConfigFlags(command, 'listed').action((options: { docs?: true }) => {
    context.out.write(options.docs ? configurationPage() : printConfig(loadConfigOf(command, context)));
    context.exitWith(0);
  });
}
