import { isatty } from 'node:tty';
import { type DestinationStream, type Logger, pino } from 'pino';
import pretty from 'pino-pretty';
import { maskSecrets } from './mask.ts';

/** A line is a constant sentence with fields: `log.info({ shard, epoch }, 'The shard is open')`. */
export type Log = Logger;

/** Where lines go. `isTTY` decides about the format `auto`. */
export interface LogStream {
  write(line: string): unknown;
  readonly isTTY?: boolean | undefined;
}

const STDOUT = 1;

/**
 * The process's log, on standard output where no stream is given. Children made by `scoped` share it. Fields named
 * like passwords are left out, and the password of every URL in a line is masked, whatever field or error it stands in.
 */
export function createLog(
  options: { readonly level: string; readonly format: 'auto' | 'json' | 'pretty' },
  stream?: LogStream,
): Log {
  const terminal = stream === undefined ? isatty(STDOUT) : stream.isTTY === true;
  const toPeople = options.format === 'pretty' || (options.format === 'auto' && terminal);
  return pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: ['password', '*.password', '*.*.password'], censor: '***' },
      hooks: { streamWrite: maskSecrets },
    },
    toPeople ? prettyStream(stream, terminal) : (stream ?? pino.destination({ dest: STDOUT, sync: true })),
  );
}

/** A child for one room or part: its lines carry `scope`. */
export function scoped(log: Log, scope: string, fields: Readonly<Record<string, unknown>> = {}): Log {
  return log.child({ scope, ...fields });
}

function prettyStream(stream: LogStream | undefined, colorize: boolean): DestinationStream {
  const format = pretty.prettyFactory({
    colorize,
    translateTime: 'SYS:HH:MM:ss.l',
    ignore: 'scope',
    messageFormat: (line, messageKey) =>
      `${line.scope === undefined ? '' : `[${String(line.scope)}] `}${String(line[messageKey])}`,
  });
  const target: LogStream = stream ?? pino.destination({ dest: STDOUT, sync: true });
  return { write: (line) => void target.write(format(line) ?? '') };
}
