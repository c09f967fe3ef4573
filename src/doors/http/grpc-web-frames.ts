import { status } from '@grpc/grpc-js';
import type { Metadata } from '../../model/payload.ts';
import { badRequest, HttpFailure, tooLarge } from './http-failure.ts';
import { responseHeaders } from './metadata-headers.ts';

/** A flag byte and four bytes of length. */
export const FRAME_HEAD_BYTES = 5;

const COMPRESSED = 0x01;
const TRAILERS = 0x80;

/**
 * The one message in the body of a gRPC-Web request. Throws HttpFailure for a body that is cut off, has no message or
 * several, a compressed message, and one of more than `limitBytes`.
 */
export function readOneFrame(body: Uint8Array, limitBytes: number): Uint8Array {
  if (body.length < FRAME_HEAD_BYTES) {
    throw badRequest(
      `The body has ${body.length} bytes; a gRPC-Web message begins with ${FRAME_HEAD_BYTES} of its own.`,
    );
  }
  const flags = body[0] as number;
  if (flags === COMPRESSED) {
    throw new HttpFailure(501, status.UNIMPLEMENTED, 'The message is compressed; send it uncompressed.');
  }
  if (flags !== 0) throw badRequest(`The body begins with the flags ${flags}; a message of a request has none.`);
  const length = new DataView(body.buffer, body.byteOffset, body.byteLength).getUint32(1);
  if (length > limitBytes) throw tooLarge('The message', limitBytes);
  const message = body.subarray(FRAME_HEAD_BYTES, FRAME_HEAD_BYTES + length);
  if (message.length < length)
    throw badRequest(`The message has ${length} bytes, but only ${message.length} of them came.`);
  if (body.length > FRAME_HEAD_BYTES + length) {
    throw badRequest('Something comes after the message; one message is taken in a request.');
  }
  return message;
}

/** A message of an answer, framed. */
export function messageFrame(message: Uint8Array): Buffer {
  return frame(0, message);
}

/** The end of an answer: status, message (percent-encoded) and metadata, as the lines of headers. */
export function trailersFrame(code: status, message: string, metadata: Metadata): Buffer {
  const lines = [`grpc-status: ${code}`];
  if (message !== '') lines.push(`grpc-message: ${percentEncoded(message)}`);
  for (const [name, values] of responseHeaders(metadata)) for (const value of values) lines.push(`${name}: ${value}`);
  return frame(TRAILERS, Buffer.from(lines.map((line) => `${line}\r\n`).join(''), 'latin1'));
}

function frame(flags: number, content: Uint8Array): Buffer {
  const bytes = Buffer.alloc(FRAME_HEAD_BYTES + content.length);
  bytes[0] = flags;
  bytes.writeUInt32BE(content.length, 1);
  bytes.set(content, FRAME_HEAD_BYTES);
  return bytes;
}

/** As gRPC has it: bytes outside of printable ASCII, and the percent sign, are written `%XX`. */
function percentEncoded(text: string): string {
  let encoded = '';
  for (const byte of Buffer.from(text, 'utf8')) {
    const plain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}

/**
 * The bytes of a body of `application/grpc-web-text`: base64, of which each part may have its own padding. Throws
 * HttpFailure 400 where it is not that.
 */
export function decodeText(body: Uint8Array): Buffer {
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('latin1').trim();
  const parts = text.match(/[A-Za-z0-9+/]+={0,2}/g) ?? [];
  const whole = parts.reduce((sum, part) => sum + part.length, 0) === text.length && parts.every(isWhole);
  if (!whole) throw badRequest('The body is not base64, as application/grpc-web-text is.');
  return Buffer.concat(parts.map((part) => Buffer.from(part, 'base64')));
}

function isWhole(part: string): boolean {
  return part.length % 4 === 0 && !/^=/.test(part);
}
