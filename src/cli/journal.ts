import { type Command, Option } from 'commander';
import { addConfigFlags, loadConfigOf } from './config-flags.ts';
import type {
  CommandContext,
  Commands,
  EntityPick,
  JournalRequest,
  JournalThing,
  Point,
  RowFormat,
} from './context.ts';
import { addHistoryOptions, addOutputOption, type Limit, limitOf, nameOf, shardOf } from './inspect-options.ts';
import { configWithoutBrokers } from './local-request.ts';
import { commandOf, entityPickOf, pointOf, thingOf } from './points.ts';

const LIMIT = 100;

interface Common {
  readonly component?: string;
  readonly generation?: number;
  readonly output?: RowFormat;
}

interface EventsOptions extends Common {
  readonly entity?: EntityPick;
  readonly from?: Point;
  readonly to?: Point;
  readonly shard?: number;
  readonly input?: string;
  readonly type?: string;
  readonly order?: 'entity' | 'shard';
  readonly limit?: Limit;
  readonly follow?: boolean;
}

/** `stateferry journal`: what the journal has, without a look at Kafka or the function. Answers the group of its commands. */
export function journalCommand(program: Command, context: CommandContext, act: Commands['journal']): Command {
  const group = program
    .command('journal')
    .summary('list, follow, show and count what the journal has')
    .description(
      'Read the journal: entities, events, what came of a record. Nothing is written and no function is called; payloads ' +
        'are read by the versions of the function that the journal remembers.',
    )
    .addHelpText(
      'after',
      `
Times are as 2026-01-31T12:00:00Z, or spans back from now: 30m, 2h, 7d.

Examples:
  $ stateferry journal stats
  $ stateferry journal entities --component carts --entity 'cart-*'
  $ stateferry journal events --entity cart-17
  $ stateferry journal events --from 2h --type shop.ItemAdded --output jsonl
  $ stateferry journal events --input orders/3/41
  $ stateferry journal show orders/3/41
  $ stateferry journal show cart-17@3
  $ stateferry journal tail --component carts
docs/inspect.md tells more.`,
    );

  const run = async (command: Command, request: JournalRequest): Promise<void> => {
    const config = configWithoutBrokers((assumed) => loadConfigOf(command, context, assumed));
    context.exitWith(await act(config, request, context));
  };
  const commonOf = ({ component, generation, output }: Common) => ({ component, generation, format: output });

  const entities = addOutputOption(
    addHistoryOptions(
      group
        .command('entities')
        .summary('list entities')
        .description('List entities: their last event or revision, how many events they have, and when.')
        .option('--entity <id>', "this one, or with a * behind it all that begin like it: 'cart-*'", entityPickOf)
        .option('--limit <n>', 'so many at most, or `all`', limitOf, LIMIT)
        .option('--after <cursor>', 'go on where an earlier list ended, as it said', nameOf),
    ),
  );
  addConfigFlags(entities, 'not listed').action(
    async (given: Common & { entity?: EntityPick; limit: Limit; after?: string }) => {
      const { entity, limit, after } = given;
      await run(entities, { ...commonOf(given), kind: 'entities', entity, limit: rowsOf(limit), after });
    },
  );

  const events = addEventFilter(
    group
      .command('events')
      .summary('list events')
      .description('List events with their payloads as JSON, by entity or in the order in which shards wrote them.')
      .option('--from <point>', 'from this time on; or of one entity, from this sequence number on', pointOf)
      .option('--to <point>', 'up to this time; or of one entity, up to this sequence number', pointOf)
      .addOption(
        new Option(
          '--order <order>',
          'by entity, or as shards wrote them; default entity where --entity is given',
        ).choices(['entity', 'shard']),
      )
      .option('--limit <n>', `so many at most, or \`all\` (default: ${LIMIT}, all with --follow)`, limitOf)
      .option('--follow', 'go on with what comes, in order of shard, until Ctrl-C'),
  );
  addConfigFlags(events, 'not listed').action(async (given: EventsOptions) => {
    const { entity, from, to, follow = false } = given;
    const refuse = (sentence: string) => events.error(`error: ${sentence}`);
    for (const [name, point] of Object.entries({ from, to })) {
      if (point?.kind !== 'seq') continue;
      if (entity === undefined || !('id' in entity)) {
        refuse(
          `--${name} ${point.seq} is a sequence number, which counts the events of one entity: name it with --entity`,
        );
      }
      if (point.seq < 1) refuse(`--${name} ${point.seq}: the first event of an entity is number 1`);
    }
    if (from !== undefined && to !== undefined) {
      if (from.kind === 'seq' && to.kind === 'seq' && from.seq > to.seq) refuse('--from is behind --to');
      if (from.kind === 'time' && to.kind === 'time' && from.at > to.at) refuse('--from is later than --to');
    }
    if (follow && to !== undefined) refuse('--follow has no end, and --to names one');
    if (follow && given.order === 'entity') refuse('--follow goes by the order of shards');
    const byDefault = entity === undefined || follow ? 'shard' : 'entity';
    await run(events, {
      ...commonOf(given),
      ...filterOf(given),
      kind: 'events',
      from,
      to,
      order: given.order ?? byDefault,
      limit: rowsOf(given.limit ?? (follow ? 'all' : LIMIT)),
      follow: follow ? 'beginning' : 'no',
    });
  });

  const tail = addEventFilter(
    group
      .command('tail')
      .summary('print events as they are journaled')
      .description('Print events as they are journaled from now on, in order within each shard, until Ctrl-C.')
      .option('--limit <n>', 'end after so many', limitOf, 'all'),
  );
  addConfigFlags(tail, 'not listed').action(async (given: EventsOptions) => {
    await run(tail, {
      ...commonOf(given),
      ...filterOf(given),
      kind: 'events',
      from: undefined,
      to: undefined,
      order: 'shard',
      limit: rowsOf(given.limit ?? 'all'),
      follow: 'now',
    });
  });

  const show = addHistoryOptions(
    group
      .command('show')
      .summary('show one event, or what came of one record')
      .description(
        'Show one event whole, or what came of a record or command: when it took effect, by which version of the function, ' +
          'its events, and what of inputs and outputs the journal still has.',
      )
      .argument('<what>', 'TOPIC/PARTITION/OFFSET, a command id such as orders/3/41#1, or ENTITY@SEQ', thingOf)
      .option('--json', 'print it as JSON'),
  );
  addConfigFlags(show, 'not listed').action(async (thing: JournalThing, given: Common & { json?: boolean }) => {
    await run(show, { ...commonOf(given), kind: 'show', thing, json: given.json === true });
  });

  const stats = addOutputOption(
    addHistoryOptions(
      group
        .command('stats')
        .summary('count what the journal has')
        .description(
          'Count what the journal has of each component, and tell how large its tables are and how far back outbox and ' +
            'inputs reach. All events are read.',
        ),
    ),
  );
  addConfigFlags(stats, 'not listed').action(async (given: Common) => {
    await run(stats, { ...commonOf(given), kind: 'stats' });
  });
  return group;
}

function addEventFilter(command: Command): Command {
  return addOutputOption(
    addHistoryOptions(
      command
        .option(
          '--entity <id>',
          "of this entity, or with a * behind it of all that begin like it: 'cart-*'",
          entityPickOf,
        )
        .option('--shard <n>', 'of this shard', shardOf)
        .option('--type <type>', 'of this type: a full name such as shop.ItemAdded, or a type url', nameOf)
        .option(
          '--input <record>',
          'that came of this record, TOPIC/PARTITION/OFFSET, and what derives from it',
          commandOf,
        ),
    ),
  );
}

function filterOf({ entity, shard, type, input }: EventsOptions) {
  return { entity, shard, type, command: input };
}

function rowsOf(limit: Limit): number | undefined {
  return limit === 'all' ? undefined : limit;
}
