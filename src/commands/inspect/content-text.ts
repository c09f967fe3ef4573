import { asBuffer } from '../../bytes.ts';
import type { Content } from '../../inspect/records.ts';
import { RawJson } from './json-text.ts';

/** What could be read of it; null: nothing. */
export function jsonOf({ json }: Content): RawJson | null {
  return json === undefined ? null : new RawJson(json);
}

/** The bytes of what could not be read; null: it could. */
export function base64Of({ json, bytes }: Content): string | null {
  return json === undefined ? asBuffer(bytes).toString('base64') : null;
}

/** On one line: the JSON, or the bytes and how many they are. */
export function shownContent({ json, bytes }: Content): string {
  return json ?? `base64 ${asBuffer(bytes).toString('base64')} (${bytes.length} bytes)`;
}

/** For JSON: type, length, and what could be read, or the bytes. */
export function contentJson(content: Content): object {
  const { type, bytes, json } = content;
  return {
    type,
    bytes: bytes.length,
    ...(json === undefined ? { base64: base64Of(content) } : { payload: jsonOf(content) }),
  };
}
