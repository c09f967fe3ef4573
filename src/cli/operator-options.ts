import { type Command, InvalidArgumentError } from 'commander';

const WAIT_SECONDS = 10;
const MAX_WAIT_SECONDS = 86_400;

/** The options of every command that asks the deployment to do something. */
export interface OperatorOptions {
  readonly reason?: string;
  readonly by?: string;
  readonly wait: number;
}

/** Gives a command `--reason`, `--by` and `--wait`. */
export function addOperatorOptions(command: Command): Command {
  return command
    .option('--reason <text>', 'why; it is kept with what was done', words)
    .option('--by <name>', 'who asks; without it the user and host of this process', words)
    .option('--wait <seconds>', 'how long to wait until it is done', secondsOf, WAIT_SECONDS);
}

/** They become parts of headers and of table cells. */
function words(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it keeps out.
  if (text.length <= 500 && !/[\u0000-\u001f]/.test(text)) return text;
  throw new InvalidArgumentError('It is to be one line of 500 characters at most.');
}

function secondsOf(text: string): number {
  const seconds = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && seconds <= MAX_WAIT_SECONDS) return seconds;
  throw new InvalidArgumentError(`It is not a number of seconds (0 to ${MAX_WAIT_SECONDS}).`);
}
