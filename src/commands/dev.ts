import path from 'node:path';
import type { DevOptions, Io, LocalRequest } from '../cli/context.ts';
import type { Config } from '../config/config.ts';
import { type ErrorCode, StateferryError } from '../errors.ts';
import { startGuard } from '../local/guard.ts';
import { type LocalStack, startStack } from '../local/stack.ts';
import { createLog, type Log } from '../observe/log.ts';
import { createRuntime } from '../runtime.ts';
import { type FunctionCommand, keepRunning } from './function-command.ts';
import { untilGone } from './until-gone.ts';
import { watchFiles } from './watch-files.ts';

const DATA_FOLDER = '.stateferry';

/** What the next version of the function may mend: it is waited for. */
const MENDABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'FUNCTION_PROTOCOL',
  'FUNCTION_SPEC',
  'TOPIC_MISSING',
  'TOPIC_PARTITIONS',
]);

/** `stateferry dev`: what is not configured is started here, then one process runs next to the function. */
export async function dev(request: LocalRequest, options: DevOptions, io: Io): Promise<number> {
  const say = (line: string): void => void io.out.write(`${line}\n`);
  let stack: LocalStack;
  try {
    stack = await startStack({
      dir: path.join(options.cwd, DATA_FOLDER),
      brokers: request.given.brokers,
      databaseUrl: request.given.databaseUrl,
      env: options.env,
      signal: io.signal,
      log: say,
    });
  } catch (error) {
    if (io.signal.aborted) return 0;
    throw error;
  }
  try {
    const config = request.configWith({
      'kafka.brokers': stack.brokers,
      'postgres.url': stack.databaseUrl,
      // Whoever tries the function out may be in a container, or at another machine of the same desk.
      'doors.withoutAcl': 'open',
    });
    introduce(stack, options, say);
    const log = createLog(config.log, io.out);
    const child = await startFunction(config, options, io, log);
    try {
      await serve(config, options, io.signal, log);
    } finally {
      await child?.stop();
    }
    return 0;
  } finally {
    await stack.stop();
  }
}

/** Where the local servers are, for a second terminal. The password is theirs alone, and they listen on 127.0.0.1. */
function introduce(
  { kafka, postgres, dir, brokers, databaseUrl }: LocalStack,
  { cwd }: DevOptions,
  say: (line: string) => void,
): void {
  if (kafka !== undefined) say(`KAFKA_BROKERS=${brokers.join(',')}`);
  if (postgres !== undefined) say(`DATABASE_URL=${databaseUrl}`);
  if (dir !== undefined) say(`Their data stay in ${path.relative(cwd, dir)}; remove it to begin anew.`);
}

interface StartedFunction {
  stop(): Promise<void>;
}

async function startFunction(
  config: Config,
  options: DevOptions,
  io: Io,
  log: Log,
): Promise<StartedFunction | undefined> {
  const { command, cwd, env } = options;
  if (command.length === 0) return undefined;
  const url = new URL(config.function.url);
  const guard = startGuard({ log: (line) => log.warn(line) });
  const started: FunctionCommand = keepRunning({
    command,
    cwd,
    env: { ...env, HOST: url.hostname.replace(/^\[|\]$/g, ''), PORT: url.port || '80' },
    guard,
    write: (text) => io.out.write(text),
  });
  const watching = new AbortController();
  await watchFiles({
    folders: options.watch,
    signal: watching.signal,
    onChange(files) {
      log.info({ files: files.map((file) => path.relative(cwd, file)) }, 'Files changed: starting the function again');
      started.restart();
    },
    onBlind: (reason) => log.warn({ reason }, 'Not every folder can be watched: name fewer with --watch'),
  });
  return {
    async stop() {
      watching.abort();
      await started.stop();
      await guard.close();
    },
  };
}

/** Runs until the signal; a function that cannot be served is told so and waited for, not a reason to end. */
async function serve(config: Config, options: DevOptions, signal: AbortSignal, log: Log): Promise<void> {
  while (!signal.aborted) {
    try {
      await createRuntime({
        config,
        log,
        devMode: true,
        createTopics: true,
        inputPartitions: options.partitions,
      }).run(signal);
    } catch (error) {
      if (!(error instanceof StateferryError) || !MENDABLE.has(error.code)) throw error;
      log.error(
        { code: error.code, reason: error.message },
        'The function cannot be served: waiting for another version',
      );
      await untilGone(new URL(config.function.url), signal);
    }
  }
}
