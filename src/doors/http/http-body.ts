import type { DescMessage } from '@bufbuild/protobuf';
import { Reader, Writer } from 'protobufjs/minimal.js';
import { isFieldValue } from './header-text.ts';

/** `google.api.HttpBody { string content_type = 1; bytes data = 2; repeated Any extensions = 3; }`: a body as it is, of any type. */
const HTTP_BODY = 'google.api.HttpBody';

/** What a body is when nobody says. */
const ANY_BYTES = 'application/octet-stream';

export interface RawBody {
  readonly contentType: string;
  readonly data: Uint8Array;
}

/** Is a message of this type handed over as raw bytes instead of JSON? */
export function isHttpBody(type: DescMessage | undefined): boolean {
  return type?.typeName === HTTP_BODY;
}

/** A raw body as the bytes of a `google.api.HttpBody`. */
export function encodeHttpBody(contentType: string | undefined, data: Uint8Array): Uint8Array {
  const writer = Writer.create();
  if (contentType !== undefined && contentType !== '') writer.uint32((1 << 3) | 2).string(contentType);
  if (data.length > 0) writer.uint32((2 << 3) | 2).bytes(data);
  return writer.finish();
}

/**
 * The raw body in the bytes of a `google.api.HttpBody`. A content type that is absent or cannot be in a header gives
 * `application/octet-stream`. Throws Error for bytes that are not a message.
 */
export function decodeHttpBody(bytes: Uint8Array): RawBody {
  const reader = Reader.create(bytes);
  let contentType = '';
  let data: Uint8Array = new Uint8Array(0);
  while (reader.pos < reader.len) {
    const tag = reader.tag();
    if (tag === ((1 << 3) | 2)) contentType = reader.string();
    else if (tag === ((2 << 3) | 2)) data = reader.bytes();
    else reader.skipType(tag & 7, 0, tag >>> 3);
  }
  return { contentType: contentType !== '' && isFieldValue(contentType) ? contentType : ANY_BYTES, data };
}
