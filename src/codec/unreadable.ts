import { messageOf, StateferryError } from '../errors.ts';

/** What `read` answers. Whatever it throws becomes JOURNAL_UNREADABLE: `bytes` are no `what` that this version knows. */
export function unreadable<T>(what: string, bytes: Uint8Array, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new StateferryError(
      'JOURNAL_UNREADABLE',
      `${what} of ${bytes.length} bytes in the journal cannot be read: ${messageOf(cause)}. ` +
        'Run the version of Stateferry that wrote it; if that fails too, restore the journal from a backup.',
      { cause },
    );
  }
}
