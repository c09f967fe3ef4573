import { type Command, InvalidArgumentError } from 'commander';
import { addConfigFlags, loadConfigOf } from './config-flags.ts';
import type { CommandContext, Commands } from './context.ts';

/** `stateferry diff`: what another version of the function would have done. */
export function diffCommand(program: Command, context: CommandContext, act: Commands['diff']): void {
  const command = program
    .command('diff')
    .summary('compare a generation with the one whose history it is made of')
    .description(
      'Compare what the function did with what it did in a generation: events, outputs and failures by the command that ' +
        'they follow from, values as they are in the end. The exit code is 0 when nothing differs, 1 when something does, ' +
        '2 when it could not be compared: so a build can replay last week against a new version.',
    )
    .argument('<name>', 'the generation')
    .option('--json', 'print the report as JSON')
    .option('--html <file>', 'write the report as a page for a browser, too')
    .option(
      '--ignore <path>',
      'field of events, values and outputs, as JSON, that may differ, such as computedAt or items[].id; repeat as needed',
      collect,
      [],
    )
    .addHelpText(
      'after',
      `
Examples:
  $ stateferry diff g2
  $ stateferry diff g2 --ignore computedAt --html diff.html`,
    );
  addConfigFlags(command, 'not listed').action(
    async (name: string, { json = false, html, ignore }: { json?: boolean; html?: string; ignore: string[] }) => {
      const { config } = loadConfigOf(command, context);
      context.exitWith(await act(config, { name, json, html, ignore }, context));
    },
  );
}

function collect(text: string, earlier: readonly string[]): string[] {
  if (/^[^.[\]]+(\[\])?(\.[^.[\]]+(\[\])?)*$/.test(text)) return [...earlier, text];
  throw new InvalidArgumentError('It is no path such as computedAt, total.currency or items[].id.');
}
