import { type Command, InvalidArgumentError, Option } from 'commander';
import { addConfigFlags, loadConfigOf } from './config-flags.ts';
import type { CommandContext, Commands } from './context.ts';
import { timeOf } from './points.ts';

const NAME = /^[a-z0-9][a-z0-9._-]{0,39}$/i;
const FLAGS = { follow: 'go on with what comes in meanwhile, until Ctrl-C' };

interface StartOptions {
  function?: string;
  mode: 'isolated' | 'cascade';
  from: number | 'beginning';
  state?: 'live';
  component?: string[];
  rate?: number;
  follow?: true;
}

/** `stateferry reprocess`: history once more, through another version of the function. */
export function reprocessCommand(program: Command, context: CommandContext, act: Commands['reprocess']): void {
  const group = program
    .command('reprocess')
    .summary('give the input of the past to another version of the function, beside the live one')
    .description(
      'Make a generation: the function gets the input of the past once more, and what comes of it (events, values, ' +
        'replies, outputs) is kept beside what came of it then. Nothing is published, and nothing of the live generation changes.',
    )
    .addHelpText(
      'after',
      `
isolated: every entity gets the commands that history gave it, those from other entities too, in that order. What the
  function would send now is compared, and goes nowhere. The same version must come to the same.
cascade: only what came from outside is given (topics, doors); what entities send each other is made anew.

With --state live, entities begin with the state that they had where it begins; without --from, that is as early as there is all of
the input. It is for isolated generations.

The function can tell by the metadata \`stateferry-generation\` that a command is of the past.

Examples:
  $ stateferry reprocess start g2 --function http://127.0.0.1:8081
  $ stateferry reprocess start week --from 7d --component shop.CartService
  $ stateferry reprocess start day --from 1d --state live
  $ stateferry reprocess run g2      one process more, or one again after it was killed or paused
  $ stateferry diff g2`,
    );

  const start = group
    .command('start')
    .summary('make a new generation')
    .description('Make a new generation, and work on it until all the history that there was at the start is applied.')
    .argument('<name>', 'what to call it', nameOf)
    .option('--function <url>', 'where its version of the function listens; default function.url', urlOf)
    .addOption(
      new Option('--mode <mode>', 'how what entities send each other is treated')
        .choices(['isolated', 'cascade'])
        .default('isolated'),
    )
    .option(
      '--from <time>',
      'begin there: beginning, 30m, 2h, 7d, or a time such as 2026-01-31T12:00:00Z',
      fromOf,
      'beginning',
    )
    .addOption(
      new Option(
        '--state <state>',
        'what entities begin with, where it begins later: live, what those of the live generation were there; default: they are empty',
      ).choices(['live']),
    )
    .option('--component <service>', 'give the commands of this service alone; repeat as needed', collect)
    .option('--rate <n>', 'input records a second of one process, at most', countOf)
    .option('--follow', FLAGS.follow);
  addConfigFlags(start, 'not listed').action(async (name: string, given: StartOptions) => {
    const { config } = loadConfigOf(start, context);
    context.exitWith(
      await act(
        config,
        {
          kind: 'start',
          name,
          functionUrl: given.function,
          mode: given.mode,
          from: given.from,
          state: given.state,
          components: given.component,
          perSecond: given.rate,
          follow: given.follow === true,
        },
        context,
      ),
    );
  });

  const run = group
    .command('run')
    .summary('work on a generation that there is')
    .description('Work on a generation: beside other processes, or after it was paused or its process was killed.')
    .argument('<name>', 'the generation')
    .option('--follow', FLAGS.follow);
  addConfigFlags(run, 'not listed').action(async (name: string, { follow = false }: { follow?: boolean }) => {
    const { config } = loadConfigOf(run, context);
    context.exitWith(await act(config, { kind: 'run', name, follow }, context));
  });

  const list = group
    .command('list')
    .summary('list the generations')
    .description('List the generations, how far they are and where they come from.')
    .option('--json', 'print them as JSON');
  addConfigFlags(list, 'not listed').action(async ({ json = false }: { json?: boolean }) => {
    const { config } = loadConfigOf(list, context);
    context.exitWith(await act(config, { kind: 'list', json }, context));
  });

  for (const [kind, summary, description] of [
    [
      'pause',
      'let all its processes end, so that it can go on later',
      'All processes that work on it end within a second. What was made stays.',
    ],
    [
      'discard',
      'remove a generation and everything of it',
      'Remove a generation: its events, values, outputs and its own topic. It must not be live.',
    ],
  ] as const) {
    const command = group.command(kind).summary(summary).description(description).argument('<name>', 'the generation');
    addConfigFlags(command, 'not listed').action(async (name: string) => {
      const { config } = loadConfigOf(command, context);
      context.exitWith(await act(config, { kind, name }, context));
    });
  }
}

function nameOf(text: string): string {
  if (NAME.test(text)) return text;
  throw new InvalidArgumentError(
    'It is not of 1 to 40 letters, digits, dots, dashes and underscores, the first a letter or digit.',
  );
}

function urlOf(text: string): string {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text;
  throw new InvalidArgumentError('It is no address such as http://127.0.0.1:8081.');
}

function fromOf(text: string): number | 'beginning' {
  return text === 'beginning' ? text : timeOf(text);
}

function countOf(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It is not a number of records.');
}

function collect(text: string, earlier: readonly string[] = []): string[] {
  return [...earlier, text];
}
