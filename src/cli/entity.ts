import type { Command } from 'commander';
import { addConfigFlags, loadConfigOf } from './config-flags.ts';
import type { CommandContext, Commands } from './context.ts';
import { addDebugCommand } from './entity-debug.ts';
import { addHistoryCommands } from './entity-history.ts';
import { nameOf } from './inspect-options.ts';
import { configWithoutBrokers } from './local-request.ts';
import { addOperatorOptions, type OperatorOptions } from './operator-options.ts';

const VERBS = {
  pause: {
    summary: 'let the commands of one entity wait in the journal',
    description:
      'Pause one entity: the command that is at the function is finished, every other one waits in the journal, in order, ' +
      'until `resume`. All other entities go on, those of the same shard too.',
  },
  resume: {
    summary: 'carry out what waits, in order, and go on',
    description:
      'Resume a paused entity: what waits for it is carried out in its order, what comes meanwhile behind it. ' +
      'Each command is carried out once, whatever dies meanwhile.',
  },
  skip: {
    summary: 'make a dead letter of its first waiting command, and go on',
    description:
      'Skip the first command of an entity that waits: one that is tried again and again, that its shard is halted ' +
      'before, or that is parked. It becomes a dead letter (SKIPPED_BY_OPERATOR) and can be retried from there. ' +
      'A paused entity stays paused. The exit code is 1 when there was nothing to skip.',
  },
} as const;

/** `stateferry entity`: what an operator does about one entity. */
export function entityCommand(
  program: Command,
  context: CommandContext,
  {
    operate,
    controlled,
    entityHistory,
    entityDebug,
  }: Pick<Commands, 'operate' | 'controlled'> & Partial<Pick<Commands, 'entityHistory' | 'entityDebug'>>,
): void {
  const entity = program
    .command('entity')
    .summary('look at one entity; pause, resume or skip past a command of it')
    .description('Look at the history of one entity, and what an operator does about it while all others go on.')
    .addHelpText(
      'after',
      `
The type is the entity type as \`stateferry status --json\` names it; the id is that of its commands.
It is the owner of the entity's shard that does it, within about a second; what is asked for while no process runs is
done when one does.

Examples:
  $ stateferry entity pause carts cart-17 --reason "bad price, ask Jo"
  $ stateferry entity list
  $ stateferry entity skip carts cart-17
  $ stateferry entity resume carts cart-17
  $ stateferry entity trace cart-17
  $ stateferry entity show cart-17 --at 3 --probe shop.CartService/GetCart`,
    );
  for (const kind of ['pause', 'resume', 'skip'] as const) {
    const command = entity
      .command(kind)
      .summary(VERBS[kind].summary)
      .description(VERBS[kind].description)
      .argument('<type>', 'entity type', nameOf)
      .argument('<id>', 'entity id', nameOf);
    addConfigFlags(addOperatorOptions(command), 'not listed').action(
      async (entityType: string, entityId: string, { reason = '', by, wait }: OperatorOptions) => {
        const config = configWithoutBrokers((assumed) => loadConfigOf(command, context, assumed));
        const request = { kind, entityType, entityId, reason, by, waitMs: wait * 1_000 };
        context.exitWith(await operate(config, request, context));
      },
    );
  }
  const list = entity
    .command('list')
    .summary('list the entities that are paused')
    .description('List the entities that are paused or not yet quite resumed, and how many of their commands wait.')
    .option('--json', 'print them as JSON');
  addConfigFlags(list, 'not listed').action(async ({ json = false }: { json?: boolean }) => {
    const config = configWithoutBrokers((assumed) => loadConfigOf(list, context, assumed));
    context.exitWith(await controlled(config, { json }, context));
  });
  if (entityHistory) addHistoryCommands(entity, context, entityHistory);
  if (entityDebug) addDebugCommand(entity, context, entityDebug);
}
