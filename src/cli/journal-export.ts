import path from 'node:path';
import type { Command } from 'commander';
import { addConfigFlags, loadConfigOf } from './config-flags.ts';
import type { CommandContext, Commands } from './context.ts';
import { configWithoutBrokers } from './local-request.ts';

/** `export` and `import` for the group `stateferry journal`. */
export function addArchiveCommands(group: Command, context: CommandContext, act: Commands['archive']): void {
  const written = group
    .command('export')
    .summary('write the journal into a folder')
    .description(
      'Write the whole journal as it is at one instant into a folder: lines of JSON, a file for each entity type, with ' +
        'checksums. The deployment may run. What was interrupted is gone on with by the same command, if the journal is still the same.',
    )
    .requiredOption('--to <folder>', 'an empty folder, or that of an interrupted export')
    .addHelpText(
      'after',
      '\nExample:\n  $ stateferry journal export --to /backup/orders\ndocs/export.md has the format.',
    );
  addConfigFlags(written, 'not listed').action(async ({ to }: { to: string }) => {
    const config = configWithoutBrokers((assumed) => loadConfigOf(written, context, assumed));
    context.exitWith(await act(config, { kind: 'export', folder: path.resolve(context.cwd, to) }, context));
  });

  const read = group
    .command('import')
    .summary('fill an empty journal from such a folder')
    .description(
      'Fill the journal that postgres.url and postgres.schema name from an export of the same deployment. It has to be empty; ' +
        'its tables are made. Everything is checked before anything is written. What was interrupted is gone on with by the same command.',
    )
    .requiredOption('--from <folder>', 'what `journal export` has written')
    .addHelpText(
      'after',
      '\nExample:\n  $ DATABASE_URL=postgres://new/db stateferry journal import --from /backup/orders',
    );
  addConfigFlags(read, 'not listed').action(async ({ from }: { from: string }) => {
    const config = configWithoutBrokers((assumed) => loadConfigOf(read, context, assumed));
    context.exitWith(await act(config, { kind: 'import', folder: path.resolve(context.cwd, from) }, context));
  });
}
