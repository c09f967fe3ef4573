import { Command, CommanderError } from 'commander';
import { StateferryError } from '../errors.ts';
import { maskSecrets } from '../observe/mask.ts';
import { aclCommand } from './acl.ts';
import { configCommand } from './config.ts';
import type { CliContext, CommandContext } from './context.ts';
import { deadLettersCommand } from './dead-letters.ts';
import { demoCommand } from './demo.ts';
import { devCommand } from './dev.ts';
import { diffCommand } from './diff.ts';
import { entityCommand } from './entity.ts';
import { journalCommand } from './journal.ts';
import { addArchiveCommands } from './journal-export.ts';
import { addRetentionCommand } from './journal-retention.ts';
import { addSnapshotCommands } from './journal-snapshots.ts';
import { promoteCommand } from './promote.ts';
import { replayCommand } from './replay.ts';
import { reprocessCommand } from './reprocess.ts';
import { runCommand } from './run.ts';
import { schemasCommand } from './schemas.ts';
import { shardCommand } from './shard.ts';
import { statusCommand } from './status.ts';
import { topicsCommand } from './topics.ts';
import { verifyCommand } from './verify.ts';

const FAILED = 1;
/** The command line or the configuration is at fault: nothing was started. */
const USAGE = 2;
const DEFAULT_COLUMNS = 100;

/**
 * Runs one command line.
 * @returns the exit code: 0 done, 1 failed, 2 a fault in the command line or the configuration; what went wrong has
 * been written to `err`.
 */
export async function runCli(context: CliContext): Promise<number> {
  let exitCode = 0;
  const program = createProgram({
    ...context,
    exitWith(code) {
      exitCode = code;
    },
  });
  try {
    await program.parseAsync(context.argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    return present(error, context);
  }
}

function createProgram(context: CommandContext): Command {
  const { out, err, commands } = context;
  const program = new Command('stateferry')
    .description(
      'Stateful functions on the Kafka and Postgres you already run:\n' +
        'message in, state in, message out, state out, exactly once.',
    )
    .version(context.version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help; `stateferry <command> --help` tells more')
    .exitOverride()
    .showSuggestionAfterError()
    .showHelpAfterError('(add --help for what is allowed)')
    .configureOutput({
      writeOut: (text) => out.write(text),
      writeErr: (text) => err.write(text),
      getOutHelpWidth: () => out.columns ?? DEFAULT_COLUMNS,
      getErrHelpWidth: () => err.columns ?? DEFAULT_COLUMNS,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .addHelpText(
      'after',
      `
New here? \`stateferry demo\` shows it at work; \`stateferry dev\` runs it next to your function.
Configuration comes from stateferry.yaml, the environment and flags: \`stateferry run --help\` lists all options.
Exit codes: 0 done, 1 failed, 2 a fault in the command line or the configuration.`,
    );
  if (commands.demo) demoCommand(program, context, commands.demo);
  if (commands.dev) devCommand(program, context, commands.dev);
  if (commands.run) runCommand(program, context, commands.run);
  if (commands.topics) topicsCommand(program, context, commands.topics);
  if (commands.schemas) schemasCommand(program, context, commands.schemas);
  if (commands.acl) aclCommand(program, context, commands.acl);
  if (commands.operate && commands.controlled) {
    const { operate, controlled, entityHistory, entityDebug } = commands;
    entityCommand(program, context, {
      operate,
      controlled,
      ...(entityHistory && { entityHistory }),
      ...(entityDebug && { entityDebug }),
    });
    shardCommand(program, context, operate);
  }
  if (commands.deadLetters) deadLettersCommand(program, context, commands.deadLetters);
  if (commands.replay) replayCommand(program, context, commands.replay);
  if (commands.reprocess) reprocessCommand(program, context, commands.reprocess);
  if (commands.diff) diffCommand(program, context, commands.diff);
  if (commands.promote) promoteCommand(program, context, commands.promote);
  if (commands.journal) {
    const group = journalCommand(program, context, commands.journal);
    if (commands.archive) addArchiveCommands(group, context, commands.archive);
    if (commands.snapshots) addSnapshotCommands(group, context, commands.snapshots);
    if (commands.retention) addRetentionCommand(group, context, commands.retention);
  }
  if (commands.verify) verifyCommand(program, context, commands.verify);
  statusCommand(program, context);
  configCommand(program, context);
  return program;
}

/** A sentence for what Stateferry itself refuses, a stack for what nobody foresaw. */
function present(error: unknown, { err }: CliContext): number {
  // Commander has written its own message, or the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
  if (error instanceof StateferryError) {
    err.write(`stateferry: ${maskSecrets(error.message)}\n`);
    return error.code === 'CONFIG_INVALID' ? USAGE : FAILED;
  }
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  err.write(`stateferry: an unexpected failure\n${maskSecrets(detail)}\n`);
  return FAILED;
}
