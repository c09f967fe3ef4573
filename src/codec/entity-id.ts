import { StateferryError } from '../errors.ts';

/**
 * The longest entity id, in bytes of UTF-8. It is part of the journal's index keys, which Postgres limits to about
 * 2,700 bytes (a third of an 8 KiB page) together with the rest of the key.
 */
export const MAX_ENTITY_ID_BYTES = 1024;

/**
 * Returns an id that the journal can hold. Throws RECORD_NO_ENTITY_ID for one that it cannot: longer than
 * MAX_ENTITY_ID_BYTES, or with the character U+0000, which Postgres text does not know.
 */
export function checkedEntityId(id: string, where: string): string {
  // UTF-8 takes at most three bytes for each of JavaScript's code units.
  if (id.length * 3 > MAX_ENTITY_ID_BYTES) {
    const bytes = Buffer.byteLength(id);
    if (bytes > MAX_ENTITY_ID_BYTES) {
      throw new StateferryError(
        'RECORD_NO_ENTITY_ID',
        `${where} has ${bytes} bytes; an entity id has at most ${MAX_ENTITY_ID_BYTES}. Use a shorter id.`,
      );
    }
  }
  if (id.includes('\0')) {
    throw new StateferryError(
      'RECORD_NO_ENTITY_ID',
      `${where} has the character U+0000 in it, which an entity id cannot hold. Use an id without it; a binary id can be written as hex text.`,
    );
  }
  return id;
}
