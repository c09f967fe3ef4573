import type { Payload } from '../model/payload.ts';
import type { AnyRecord } from '../verify/identity.ts';
import type { DiffOptions } from './diff-options.ts';
import { without } from './difference.ts';

/** What of records and payloads is held against each other, and how it is shown. */
export interface Content {
  ofRecord(record: AnyRecord): Uint8Array;
  ofPayload(payload: Payload): Uint8Array;
  showRecord(record: AnyRecord): unknown;
  showPayload(payload: Payload): unknown;
}

/** Compares and shows JSON where it can be read, bytes elsewhere. */
export function contentOf({ payloads, ignore }: DiffOptions): Content {
  const decoded = (payload: Payload): unknown => {
    const text = payloads.read(payload);
    return text === undefined ? undefined : (JSON.parse(text) as unknown);
  };
  const json = (value: Uint8Array): unknown => {
    try {
      return JSON.parse(Buffer.from(value).toString());
    } catch {
      return undefined;
    }
  };
  const ofHeader = (record: AnyRecord, name: string): string => {
    const value = record.headers.find(([key]) => key === name)?.[1] ?? '';
    return typeof value === 'string' ? value : Buffer.from(value).toString();
  };
  const readRecord = (record: AnyRecord): unknown => {
    if (record.value === null) return null;
    const type = ofHeader(record, 'ce_type');
    const plain = json(record.value);
    if (plain !== undefined || type === '') return plain;
    return decoded({ typeUrl: `type.googleapis.com/${type}`, value: record.value });
  };
  const raw = (value: Uint8Array | null): unknown =>
    value === null ? null : { base64: Buffer.from(value).toString('base64'), bytes: value.length };
  const reduced = (read: unknown, value: Uint8Array): Uint8Array =>
    read === undefined ? value : Buffer.from(JSON.stringify(without(read, ignore)));
  const NOTHING = new Uint8Array();
  return {
    ofRecord: (record) =>
      ignore.length === 0 ? (record.value ?? NOTHING) : reduced(readRecord(record), record.value ?? NOTHING),
    ofPayload: (payload) => (ignore.length === 0 ? payload.value : reduced(decoded(payload), payload.value)),
    showRecord: (record) => readRecord(record) ?? raw(record.value),
    showPayload: (payload) => decoded(payload) ?? raw(payload.value),
  };
}
