import { type Command, InvalidArgumentError } from 'commander';
import { addConfigFlags, loadConfigOf } from './config-flags.ts';
import type { CommandContext, Commands, LetterFilter } from './context.ts';
import { addOperatorOptions, type OperatorOptions } from './operator-options.ts';
import { timeOf } from './points.ts';

const LIMIT = 50;
const MAX_LIMIT = 100_000;

type FilterOptions = { topic?: string; code?: string; service?: string; since?: number };

/** `stateferry dead-letters`: what became of what could not be processed. */
export function deadLettersCommand(program: Command, context: CommandContext, act: Commands['deadLetters']): void {
  const group = program
    .command('dead-letters')
    .summary('list, show, retry and drop dead letters')
    .description('Look at the records that could not be processed, and deal with them.')
    .addHelpText(
      'after',
      `
A letter's id is its partition and offset in the dead-letter topic. A retried command keeps its identity and takes its
place behind what its entity has been given by then. What is dealt with stays on the topic and is listed no more.

Examples:
  $ stateferry dead-letters list --code FUNCTION_FAILED --since 2h
  $ stateferry dead-letters show 3/41
  $ stateferry dead-letters retry 3/41 3/42
  $ stateferry dead-letters retry --all --topic orders
  $ stateferry dead-letters drop 3/41 --reason "a test record"`,
    );

  const list = addFilter(
    group
      .command('list')
      .summary('list dead letters that nobody has dealt with')
      .description('List the dead letters that nobody has dealt with, the newest last.')
      .option('--all', 'those that were retried or dropped, too')
      .option('--limit <n>', 'so many at most, the newest', limitOf, LIMIT)
      .option('--json', 'print them as JSON'),
  );
  addConfigFlags(list, 'not listed').action(
    async ({
      all = false,
      limit,
      json = false,
      ...filter
    }: FilterOptions & { all?: boolean; limit: number; json?: boolean }) => {
      const { config } = loadConfigOf(list, context);
      const request = { kind: 'list', filter: filterOf(filter), all, limit, json } as const;
      context.exitWith(await act(config, request, context));
    },
  );

  const show = group
    .command('show')
    .summary('show one dead letter whole')
    .description('Show one dead letter: why it failed, where it came from, its key, headers and payload.')
    .argument('<id>', 'partition/offset', idOf)
    .option('--json', 'print it as JSON, key and value in base64');
  addConfigFlags(show, 'not listed').action(async (id: string, { json = false }: { json?: boolean }) => {
    const { config } = loadConfigOf(show, context);
    context.exitWith(await act(config, { kind: 'show', id, json }, context));
  });

  const verbs = {
    retry: [
      'put dead letters back',
      'Put dead letters back: each record is handled once more, as what it was, by way of the command topic. It is put back ' +
        'once, whatever dies meanwhile. One that was retried or dropped before is refused without --again.',
    ],
    drop: ['mark dead letters as dealt with', 'Mark dead letters as dealt with. They stay on the topic.'],
  } as const;
  for (const kind of ['retry', 'drop'] as const) {
    const command = group
      .command(kind)
      .summary(verbs[kind][0])
      .description(verbs[kind][1])
      .argument('[ids...]', 'partition/offset, several if you like', (text: string, before: string[] | undefined) => [
        ...(before ?? []),
        idOf(text),
      ])
      .option('--all', 'all that nobody has dealt with and that the filters let through');
    if (kind === 'retry') command.option('--again', 'also what was retried or dropped before');
    addConfigFlags(addOperatorOptions(addFilter(command)), 'not listed').action(
      async (
        ids: string[] | undefined,
        options: FilterOptions & OperatorOptions & { all?: boolean; again?: boolean },
      ) => {
        const { all = false, again = false, reason = '', by, wait, ...filter } = options;
        const wanted = ids ?? [];
        const isFiltered = Object.values(filterOf(filter)).some((value) => value !== undefined);
        if (all === wanted.length > 0) {
          command.error(
            all ? 'error: give either ids or --all' : `error: nothing to ${kind}: give ids, or --all with filters`,
          );
        }
        if (isFiltered && !all) command.error('error: filters go with --all');
        if (again && all) command.error('error: --again goes with ids');
        const { config } = loadConfigOf(command, context);
        const request = {
          kind,
          ids: wanted,
          filter: all ? filterOf(filter) : undefined,
          again,
          reason,
          by,
          waitMs: wait * 1_000,
        };
        context.exitWith(await act(config, request, context));
      },
    );
  }
}

function addFilter(command: Command): Command {
  return command
    .option('--topic <topic>', 'records of this input topic')
    .option('--code <code>', 'failures with this code, for example FUNCTION_FAILED')
    .option('--service <service>', 'commands of this gRPC service')
    .option('--since <time>', 'given up since then: 30m, 2h, 7d, or a time such as 2026-01-31T12:00:00Z', timeOf);
}

function filterOf({ topic, code, service, since }: FilterOptions): LetterFilter {
  return { topic, code, service, since };
}

function idOf(text: string): string {
  if (/^\d{1,9}\/\d{1,18}$/.test(text)) return text;
  throw new InvalidArgumentError('It is not the id of a dead letter, such as 3/41.');
}

function limitOf(text: string): number {
  const limit = Number(text);
  if (/^\d+$/.test(text) && limit >= 1 && limit <= MAX_LIMIT) return limit;
  throw new InvalidArgumentError(`It is not a number of dead letters (1 to ${MAX_LIMIT}).`);
}
