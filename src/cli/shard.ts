import { type Command, InvalidArgumentError } from 'commander';
import { addConfigFlags, loadConfigOf } from './config-flags.ts';
import type { CommandContext, Commands } from './context.ts';
import { configWithoutBrokers } from './local-request.ts';
import { addOperatorOptions, type OperatorOptions } from './operator-options.ts';

const VERBS = {
  resume: {
    summary: 'try again what the shard is halted before',
    description:
      'Try again the commands that a shard is halted before, when what they failed of is mended outside of the function. ' +
      'A new version of the function, and a restart, try them again by themselves.',
  },
  skip: {
    summary: 'make a dead letter of what the shard is halted before',
    description:
      'Skip the first record that a shard is halted before: it becomes a dead letter (SKIPPED_BY_OPERATOR), and the shard ' +
      'goes on. The exit code is 1 when the shard was not halted.',
  },
} as const;

/** `stateferry shard`: what an operator does about a halted shard. */
export function shardCommand(program: Command, context: CommandContext, operate: Commands['operate']): void {
  const shard = program
    .command('shard')
    .summary('go on with a halted shard')
    .description('What an operator does about a shard that a failure policy has halted; `stateferry status` shows it.')
    .addHelpText(
      'after',
      `
Examples:
  $ stateferry shard resume 3
  $ stateferry shard skip 3 --reason "a test record"`,
    );
  for (const kind of ['resume', 'skip'] as const) {
    const command = shard
      .command(kind)
      .summary(VERBS[kind].summary)
      .description(VERBS[kind].description)
      .argument('<number>', 'number of the shard', numberOf);
    addConfigFlags(addOperatorOptions(command), 'not listed').action(
      async (number: number, { reason = '', by, wait }: OperatorOptions) => {
        const config = configWithoutBrokers((assumed) => loadConfigOf(command, context, assumed));
        const request = { kind: `shard-${kind}` as const, shard: number, reason, by, waitMs: wait * 1_000 };
        context.exitWith(await operate(config, request, context));
      },
    );
  }
}

function numberOf(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It is not the number of a shard.');
}
