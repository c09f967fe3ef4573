import { access, constants } from 'node:fs/promises';
import path from 'node:path';
import { messageOf, StateferryError } from '../errors.ts';
import { hash } from './hash.ts';
import type { Host } from './host.ts';
import { runTool } from './launch.ts';

const OLDEST_JAVA = 17;

/** A Java runtime that can run Kafka. */
export interface Java {
  readonly command: string;
  /** Differs between any two builds of Java; 12 hex digits. */
  readonly build: string;
}

/** The one answer to "the local Kafka cannot run here": what is missing, and the three ways on. */
export function localStackRefusal(missing: string, options?: { cause?: unknown }): StateferryError {
  return new StateferryError(
    'LOCAL_STACK',
    `${missing} Any one of these is enough:
  1. Install Java ${OLDEST_JAVA} or newer and Maven (Maven is needed the first time only), then try again.
  2. With Docker: docker compose up
  3. With servers that you already run: set KAFKA_BROKERS (host:port,...) and DATABASE_URL (postgres://user:password@host:port/database).`,
    options,
  );
}

/** The absolute path of `command` in the folders of PATH. */
export async function findCommand(command: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  for (const folder of (env.PATH ?? '').split(path.delimiter)) {
    if (path.isAbsolute(folder) && (await executable(path.join(folder, command)))) return path.join(folder, command);
  }
  return undefined;
}

/** Java 17 or newer: JAVA_HOME's, else the first on PATH. The refusal with the three ways on when there is none. */
export async function findJava(host: Host): Promise<Java> {
  const { env } = host;
  const home = env.JAVA_HOME ? path.join(env.JAVA_HOME, 'bin', 'java') : undefined;
  const candidates = [
    home !== undefined && (await executable(home)) ? home : undefined,
    await findCommand('java', env),
  ].filter((command) => command !== undefined);
  const unfit: string[] = [];
  for (const command of new Set(candidates)) {
    try {
      const about = await runTool({ name: 'java -version', command, args: ['-version'], env, cwd: '/', host });
      const version = javaVersion(about);
      if (version !== undefined && version >= OLDEST_JAVA) {
        return { command, build: hash(about) };
      }
      unfit.push(`${command} is Java ${version ?? 'of an unknown version'}`);
    } catch (error) {
      host.signal.throwIfAborted();
      unfit.push(messageOf(error));
    }
  }
  const found = unfit.length === 0 ? 'no java is in JAVA_HOME or on PATH' : unfit.join('; ');
  throw localStackRefusal(`The local Kafka needs Java ${OLDEST_JAVA} or newer, and ${found}.`);
}

/** 17 from `openjdk version "17.0.15"`, 8 from `java version "1.8.0_392"`. */
export function javaVersion(about: string): number | undefined {
  const match = /version "(?:1\.)?(\d+)/.exec(about);
  return match?.[1] === undefined ? undefined : Number(match[1]);
}

async function executable(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}
