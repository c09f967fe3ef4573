import { type Command, InvalidArgumentError } from 'commander';
import { addConfigFlags, loadConfigOf } from './config-flags.ts';
import type { CommandContext, Commands } from './context.ts';
import { nameOf } from './inspect-options.ts';

interface Options {
  readonly component?: string;
  readonly from: number;
  readonly to?: number;
  readonly step?: boolean;
  readonly function?: string;
}

/** `stateferry entity debug`: the recorded commands of one entity, once more, for a debugger. */
export function addDebugCommand(entity: Command, context: CommandContext, act: Commands['entityDebug']): void {
  const command = entity
    .command('debug')
    .summary('give a function the recorded commands of one entity, one by one')
    .description(
      'Give a function the commands of an event sourced entity that led to its events once more, each in the state that the ' +
        'entity had then, so that its breakpoints hit; and tell whether the events are those of the journal. No deadline counts. ' +
        'Nothing is journaled or published; the metadata entry stateferry-generation is `debug`. The exit code is 1 when some events differ.',
    )
    .argument('<id>', 'entity id', nameOf)
    .requiredOption('--from <seq>', 'begin with the command that led to this event', seqOf)
    .option('--to <seq>', 'end with the command that led to this event; default the last one', seqOf)
    .option('--step', 'wait for Enter before each command')
    .option('--function <url>', 'where the function listens that is looked into; default function.url', urlOf)
    .option('--component <name>', 'entity type or service', nameOf)
    .addHelpText(
      'after',
      `
Commands come from the journal (journal.keepInputs), else from the topics. One that was passed over then, by its idempotency key, is sent.

Example:
  $ stateferry entity debug cart-17 --from 12 --to 14 --step --function http://127.0.0.1:8081`,
    );
  addConfigFlags(command, 'not listed').action(async (entityId: string, given: Options) => {
    const { component, from, to, step = false } = given;
    if (to !== undefined && to < from) command.error('error: --to is before --from');
    const { config } = loadConfigOf(command, context);
    const request = { entityId, component, from, to, step, functionUrl: given.function };
    context.exitWith(await act(config, request, context));
  });
}

function seqOf(text: string): number {
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It is not the number of an event: the first one is 1.');
}

function urlOf(text: string): string {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text;
  throw new InvalidArgumentError('It is not a URL such as http://127.0.0.1:8081.');
}
