import { asBuffer } from '../bytes.ts';
import type { Payload } from '../model/payload.ts';

/** What an element or key is known by: its type and its bytes, as the function encoded them. */
export function identityOf({ typeUrl, value }: Payload): string {
  return `${typeUrl}\0${asBuffer(value).toString('latin1')}`;
}
