import { DOOR_HEADER, ORIGIN_HEADER, PUT_BACK_HEADER } from '../codec/header-names.ts';
import type { InputRecord } from '../model/record.ts';

/**
 * Whether a record of a command topic came from outside: a call at a door, or a record from outside that was put back.
 * The others are derived commands, and records that were in the wrong partition: both follow from other records.
 */
export function isExternal({ headers }: InputRecord): boolean {
  if (headers[PUT_BACK_HEADER] === undefined) return headers[DOOR_HEADER] !== undefined;
  const origin = headers[ORIGIN_HEADER];
  const ours = Array.isArray(origin) ? origin[0] : origin;
  return ours !== undefined && !String(ours).includes('#');
}
