import { type Command, InvalidArgumentError } from 'commander';
import { addConfigFlags, loadConfigOf } from './config-flags.ts';
import type { CommandContext, Commands } from './context.ts';

const HOLD_S = 60;

/** `stateferry promote`: another version of the function, with a past of its own, from here on. */
export function promoteCommand(program: Command, context: CommandContext, act: Commands['promote']): void {
  const command = program
    .command('promote')
    .summary('let a generation serve in the place of the live one')
    .description(
      'Let a generation serve, at an exact position of every input: what was before is done by the old one, with all that ' +
        'follows from it, what comes after by the new one, none twice and none missed. Input waits meanwhile, for about a ' +
        'second, and so do callers at the doors. What the new one would have published of the past is not published, unless it is asked for.',
    )
    .argument('<name>', 'the generation; to roll back, the one that served before')
    .option('--hold <s>', 'how long input may wait; then the old one serves on', secondsOf, HOLD_S)
    .option(
      '--emit-differences <topic>',
      'when it serves, publish there what its outputs of the past have that those of the old one have not, or have in another way; ' +
        'once more, it goes on where it was interrupted',
    )
    .addHelpText(
      'after',
      `
The processes of the deployment go on with the function of the generation, wherever function.url leads.

Examples:
  $ stateferry promote g2
  $ stateferry promote g2 --emit-differences corrections
  $ stateferry promote g1       back to the first one, which is given what came meanwhile`,
    );
  addConfigFlags(command, 'not listed').action(
    async (name: string, { hold, emitDifferences }: { hold: number; emitDifferences?: string }) => {
      const { config } = loadConfigOf(command, context);
      context.exitWith(await act(config, { name, holdMs: hold * 1_000, emitTo: emitDifferences }, context));
    },
  );
}

function secondsOf(text: string): number {
  if (/^[1-9]\d{0,4}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It is not a number of seconds.');
}
