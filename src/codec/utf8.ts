import { isUtf8 } from 'node:buffer';
import { asBuffer } from '../bytes.ts';

/** The bytes as text, or undefined where they are not valid UTF-8: no byte is ever replaced. */
export function utf8Text(bytes: Uint8Array): string | undefined {
  return isUtf8(bytes) ? asBuffer(bytes).toString('utf8') : undefined;
}
