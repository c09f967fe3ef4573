import type { Command } from 'commander';
import { addConfigFlags, loadConfigOf } from './config-flags.ts';
import type { CommandContext, Commands } from './context.ts';
import { configWithoutBrokers } from './local-request.ts';

/** `stateferry journal retention`: what the journal need not keep. */
export function addRetentionCommand(group: Command, context: CommandContext, act: Commands['retention']): void {
  const command = group
    .command('retention')
    .summary('remove what journal.retention lets go, or tell what that is')
    .description(
      'Remove what journal.retention lets go, as the processes of the deployment do from time to time, and tell what holds ' +
        'the rest of it back: entities without a snapshot, feeds, generations, the outbox.',
    )
    .option('--dry-run', 'remove nothing: tell what would be removed')
    .option('--json', 'print it as JSON');
  addConfigFlags(command, 'not listed').action(async ({ dryRun = false, json = false }) => {
    const config = configWithoutBrokers((assumed) => loadConfigOf(command, context, assumed));
    context.exitWith(await act(config, { dryRun, json }, context));
  });
}
