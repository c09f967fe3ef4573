import type { Command } from 'commander';
import { addConfigFlags, loadConfigOf } from './config-flags.ts';
import type { CommandContext, Commands, EntityHistoryRequest } from './context.ts';
import { addHistoryOptions, type Limit, limitOf, nameOf } from './inspect-options.ts';
import { configWithoutBrokers } from './local-request.ts';
import { momentOf } from './points.ts';

const COMMANDS = 100;

interface Common {
  readonly component?: string;
  readonly generation?: number;
  readonly json?: boolean;
}

/** `stateferry entity trace` and `entity show`: the story of one entity, and its state at a moment. */
export function addHistoryCommands(entity: Command, context: CommandContext, act: Commands['entityHistory']): void {
  const run = async (command: Command, request: EntityHistoryRequest): Promise<void> => {
    const config = configWithoutBrokers((assumed) => loadConfigOf(command, context, assumed));
    context.exitWith(await act(config, request, context));
  };
  const trace = addHistoryOptions(
    entity
      .command('trace')
      .summary('tell what happened to one entity, and what it led to')
      .description(
        'Tell the story of one entity, oldest first: each command that it was given, where that came from, its events, what ' +
          'it led to elsewhere, and what the journal still has of its outputs, dead letters and inputs.',
      )
      .argument('<id>', 'entity id', nameOf)
      .option('--limit <n>', 'the newest commands, so many or `all`', limitOf, COMMANDS)
      .option('--json', 'print it as JSON'),
  );
  addConfigFlags(trace, 'not listed').action(async (entityId: string, given: Common & { limit: Limit }) => {
    const { component, generation, json = false, limit } = given;
    const rows = limit === 'all' ? undefined : limit;
    await run(trace, { kind: 'trace', component, generation, entityId, json, limit: rows });
  });

  const show = addHistoryOptions(
    entity
      .command('show')
      .summary('show the state of one entity, now or at a moment of its history')
      .description(
        'Show the state of an entity. Of an event sourced one, the function is asked: it is given snapshot and events up to ' +
          'the moment and then the method that --probe names, whose effect is thrown away; without --probe, the snapshot ' +
          'and the events are printed. Of a value, only the present one is kept.',
      )
      .argument('<id>', 'entity id', nameOf)
      .option(
        '--at <moment>',
        'a sequence number, a time, a span back such as 2h, or TOPIC/PARTITION/OFFSET: when that record had taken effect',
        momentOf,
      )
      .option('--probe <method>', 'method that only reads, as Service/Method: its answer is printed', nameOf)
      .option('--json', 'print it as JSON'),
  );
  addConfigFlags(show, 'not listed').action(
    async (
      entityId: string,
      given: Common & { at?: Extract<EntityHistoryRequest, { kind: 'show' }>['at']; probe?: string },
    ) => {
      const { component, generation, json = false, at, probe } = given;
      if (at?.kind === 'seq' && at.seq < 1) show.error('error: --at 0: the first event of an entity is number 1');
      await run(show, { kind: 'show', component, generation, entityId, json, at, probe });
    },
  );
}
