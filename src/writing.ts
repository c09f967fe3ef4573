import { messageOf, StateferryError } from './errors.ts';

/** What a person can do about a file that cannot be written, by the system's name of the error. */
const REMEDIES: Readonly<Record<string, string>> = {
  ENOSPC: 'The disk is full: make room, or name another place',
  EDQUOT: 'The quota is used up: make room, or name another place',
  EFBIG: 'No file may become so large here (`ulimit -f`): raise the limit, or name another place',
  EROFS: 'Nothing can be written there: name another place',
  EACCES: 'This user may not write there: grant it, or name another place',
  EPERM: 'This user may not write there: grant it, or name another place',
  ENOENT: 'There is no such folder: make it, or name another place',
  ENOTDIR: 'What is named as a folder is none: name another place',
  EISDIR: 'It is a folder: name a file',
};

/** The sentence for an error of the system in writing `what`; undefined: it is of another kind. */
export function writeTrouble(what: string, error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const remedy = Object.hasOwn(REMEDIES, code) ? REMEDIES[code] : undefined;
  return remedy === undefined ? undefined : `${what} could not be written (${messageOf(error)}). ${remedy}.`;
}

/**
 * Does `work`, which writes the file.
 * @throws StateferryError FILE_UNWRITABLE where the system refuses that, with what to do; whatever else `work` throws.
 */
export async function writing<T>(file: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const sentence = writeTrouble(file, cause);
    throw sentence === undefined ? cause : new StateferryError('FILE_UNWRITABLE', sentence, { cause });
  }
}
