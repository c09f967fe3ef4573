import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { messageOf, StateferryError } from '../errors.ts';
import { packagePath } from '../package-path.ts';
import { hash } from './hash.ts';
import type { Host } from './host.ts';
import { findCommand, localStackRefusal } from './java.ts';
import { runTool } from './launch.ts';

/** What a download or an archive of classes that was cut short leaves behind is removed after so long. */
const LEFTOVER_MS = 60 * 60 * 1000;

/** Where the local stack keeps what it fetched: $XDG_CACHE_HOME/stateferry, else ~/.cache/stateferry. */
export function cacheFolder(env: NodeJS.ProcessEnv): string {
  return path.join(env.XDG_CACHE_HOME || path.join(env.HOME || homedir(), '.cache'), 'stateferry');
}

/** Something that a pom.xml names and Maven fetches. */
export interface MavenSource {
  /** "Kafka" */
  readonly name: string;
  /** Name of the folder in deploy/, of the folder in the cache, and of the property with the version. */
  readonly key: string;
  /** "43 MB" */
  readonly size: string;
  /** Of the dependency plugin; what it makes goes to outputDirectory. */
  readonly goal: 'copy-dependencies' | 'unpack';
}

/** What Maven fetched, on this machine. */
export interface MavenFolder {
  /** "4.4.0" */
  readonly version: string;
  readonly folder: string;
}

/**
 * What deploy/<key>/pom.xml names, fetched by Maven if this machine does not have it. It is fetched into a folder of its
 * own that gets its final name when it is complete, so any number of first starts may run at once.
 */
export async function mavenFolder(host: Host, { name, key, size, goal }: MavenSource): Promise<MavenFolder> {
  const { env, log } = host;
  const pomFile = packagePath(`deploy/${key}/pom.xml`);
  const pom = await readFile(pomFile, 'utf8');
  const version = new RegExp(`<${key}\\.version>([\\w.-]+)</${key}\\.version>`).exec(pom)?.[1];
  if (version === undefined) throw new StateferryError('LOCAL_STACK', `${pomFile} has no property ${key}.version`);

  const cache = cacheFolder(env);
  const folder = path.join(cache, `${key}-${version}-${hash(pom)}`);
  await mkdir(cache, { recursive: true });
  await removeLeftovers(cache);
  if (!(await exists(folder))) {
    const maven = await findCommand('mvn', env);
    if (maven === undefined) {
      throw localStackRefusal(
        `The jars of the local ${name} are not in ${cache} yet, and Maven, which fetches them, is not on PATH.`,
      );
    }
    const began = Date.now();
    log(`fetching ${name} ${version} (${size}, the first time only)`);
    const fetching = path.join(cache, leftoverName());
    try {
      await runTool({
        name: `mvn, which fetches ${name} from Maven Central,`,
        command: maven,
        args: ['-q', '-B', '-f', pomFile, `dependency:${goal}`, `-DoutputDirectory=${fetching}`],
        env,
        cwd: cache,
        host,
      });
      await rename(fetching, folder);
    } catch (error) {
      // Another first start may have been quicker; then what it brought is what we wanted.
      if (!(await exists(folder))) {
        host.signal.throwIfAborted();
        throw localStackRefusal(`The jars of the local ${name} could not be fetched: ${messageOf(error)}`, {
          cause: error,
        });
      }
    } finally {
      await rm(fetching, { recursive: true, force: true });
    }
    log(`${name} ${version} is in ${folder} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
  }
  return { version, folder };
}

/** A name in the cache for something that is not complete yet. */
export function leftoverName(): string {
  return `incomplete-${randomUUID()}`;
}

async function removeLeftovers(cache: string): Promise<void> {
  for (const name of await readdir(cache)) {
    if (!name.startsWith('incomplete-')) continue;
    const leftover = path.join(cache, name);
    const age = await stat(leftover).then((found) => Date.now() - found.mtimeMs, goneIsYoung);
    if (age > LEFTOVER_MS) await rm(leftover, { recursive: true, force: true });
  }
}

function goneIsYoung(error: NodeJS.ErrnoException): number {
  if (error.code === 'ENOENT') return 0;
  throw error;
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false;
      throw error;
    },
  );
}
