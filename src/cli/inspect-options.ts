import { type Command, InvalidArgumentError, Option } from 'commander';
import type { RowFormat } from './context.ts';

const FORMATS: readonly RowFormat[] = ['table', 'jsonl', 'csv'];
const MAX_LIMIT = 1_000_000_000;

/** `--limit`: a number of rows; 'all' is none. */
export type Limit = number | 'all';

/** Gives a command `--component` and `--generation`. */
export function addHistoryOptions(command: Command): Command {
  return command
    .option('--component <name>', 'entity type or service, as `stateferry journal stats` names them', nameOf)
    .option('--generation <n>', 'another generation of the journal than the live one', generationOf);
}

/** Gives a command `--output`. */
export function addOutputOption(command: Command): Command {
  return command.addOption(
    new Option('--output <format>', 'how to write it; default table on a terminal, jsonl elsewhere').choices(FORMATS),
  );
}

/**
 * Reads the value of `--limit`.
 * @throws InvalidArgumentError for what is no number of rows.
 */
export function limitOf(text: string): Limit {
  if (text === 'all') return text;
  const limit = Number(text);
  if (/^\d+$/.test(text) && limit >= 1 && limit <= MAX_LIMIT) return limit;
  throw new InvalidArgumentError(`It is neither a number (1 to ${MAX_LIMIT}) nor \`all\`.`);
}

/**
 * Reads the number of a shard.
 * @throws InvalidArgumentError for what is none.
 */
export function shardOf(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It is not the number of a shard.');
}

/**
 * Reads a name or an id.
 * @throws InvalidArgumentError for an empty one.
 */
export function nameOf(text: string): string {
  if (text !== '' && !text.includes('\0')) return text;
  throw new InvalidArgumentError('It is empty.');
}

function generationOf(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It is not the number of a generation.');
}
