import * as grpc from '@grpc/grpc-js';
import { asBuffer } from '../bytes.ts';
import type { Metadata, MetadataEntry } from '../model/payload.ts';
import { isReservedKey } from './reserved-keys.ts';

/** Headers that carry the call and are no metadata of it (PROTOCOLS 12); `grpc-*` besides. */
const TRANSPORT = new Set([
  'user-agent',
  'content-type',
  'te',
  'host',
  'connection',
  'content-length',
  'accept-encoding',
]);
const LEGAL_KEY = /^[0-9a-z_.-]+$/;
const LEGAL_TEXT = /^[\x20-\x7e]*$/;

/** What a gRPC caller sent with its call, but for what nobody outside may set. */
export function fromGrpc(metadata: grpc.Metadata): Metadata {
  const entries: MetadataEntry[] = [];
  for (const key of Object.keys(metadata.getMap())) {
    if (!isPassedOn(key)) continue;
    for (const value of metadata.get(key)) entries.push({ key, value });
  }
  return entries;
}

/** A reply's metadata, as far as gRPC can carry it: what is no legal header is left out, text of bytes goes as they are. */
export function toGrpc(metadata: Metadata): grpc.Metadata {
  const out = new grpc.Metadata();
  for (const { key: given, value } of metadata) {
    const key = given.toLowerCase();
    if (!LEGAL_KEY.test(key) || !isPassedOn(key)) continue;
    const isBinary = key.endsWith('-bin');
    if (typeof value !== 'string') out.add(isBinary ? key : `${key}-bin`, asBuffer(value));
    else if (isBinary) out.add(key, Buffer.from(value));
    else if (LEGAL_TEXT.test(value)) out.add(key, value);
  }
  return out;
}

function isPassedOn(key: string): boolean {
  return !TRANSPORT.has(key) && !key.startsWith('grpc-') && !isReservedKey(key);
}
