import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { addConfigFlags, loadConfigOf } from './config-flags.ts';
import type { CommandContext, Commands, SnapshotsRequest } from './context.ts';
import { nameOf } from './inspect-options.ts';
import { configWithoutBrokers } from './local-request.ts';

/** Fewer are loaded as fast without a snapshot. */
const MIN_EVENTS = 100;

interface Options {
  readonly component?: string;
  readonly entity?: string;
}

/** `stateferry journal snapshots drop|rebuild`. */
export function addSnapshotCommands(group: Command, context: CommandContext, act: Commands['snapshots']): void {
  const snapshots = group
    .command('snapshots')
    .summary('drop snapshots, or make them anew')
    .description(
      'Drop snapshots, or make them of the events, as of a change of their form. The deployment may run: it loads entities ' +
        'from what there is, and goes on to write snapshots of its own.',
    );
  const add = (name: 'drop' | 'rebuild', summary: string, description: string): Command =>
    snapshots
      .command(name)
      .summary(summary)
      .description(description)
      .option('--component <name>', 'of this component, by its entity type or its service', nameOf)
      .option('--entity <id>', 'of this entity', nameOf);
  const run = async (command: Command, request: SnapshotsRequest): Promise<void> => {
    const config = configWithoutBrokers((assumed) => loadConfigOf(command, context, assumed));
    context.exitWith(await act(config, request, context));
  };
  const common = ({ component, entity }: Options) => ({ component, entityId: entity });

  const dropped = add(
    'drop',
    'drop snapshots: entities are loaded from all their events',
    'Drop snapshots: entities are loaded from all their events then. Those that retention has removed events of stay, and ' +
      'are listed; the exit code is 1 then.',
  );
  addConfigFlags(dropped, 'not listed').action(async (given: Options) =>
    run(dropped, { ...common(given), kind: 'drop' }),
  );

  const rebuilt = add(
    'rebuild',
    'make snapshots anew from the events',
    'Replay all events of entities at the function, ask it for the state, and put that in the place of the snapshot: of ' +
      'entities that have one, and of those with many events. No command is sent. Replicated entities need no function.',
  ).option('--min-events <n>', 'of entities with so many events, too, that have none', eventsOf, MIN_EVENTS);
  addConfigFlags(rebuilt, 'not listed').action(async (given: Options & { minEvents: number }) =>
    run(rebuilt, { ...common(given), kind: 'rebuild', minEvents: given.minEvents }),
  );
}

function eventsOf(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It is not a number of events.');
}
