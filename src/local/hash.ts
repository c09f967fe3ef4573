import { createHash } from 'node:crypto';

/** 12 hex digits of SHA-256: for names that change with what they stand for. */
export function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12);
}
