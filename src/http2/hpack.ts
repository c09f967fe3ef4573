import { decodeHuffman } from './huffman.ts';
import { ProtocolError } from './protocol-error.ts';
import { STATIC_TABLE } from './static-table.ts';

export type Header = readonly [name: string, value: string];

/** What an entry counts beside its name and its value, in bytes (RFC 7541, 4.1). */
const ENTRY_OVERHEAD = 32;
/** More headers than this, decoded, in bytes, and the peer is at fault. */
const MAX_HEADER_BYTES = 64 * 1024;
const DEFAULT_TABLE_BYTES = 4_096;

/**
 * Encodes headers without the dynamic table and without Huffman codes: literals that are not indexed (RFC 7541, 6.2.2).
 * A block of a call is encoded once and sent for each of its streams, so that its size does not matter.
 */
export function encodeHeaders(headers: readonly Header[]): Buffer {
  return Buffer.concat(
    headers.flatMap(([name, value]) => [Buffer.of(0), ...literal(Buffer.from(name)), ...literal(Buffer.from(value))]),
  );
}

function literal(text: Buffer): Buffer[] {
  return [encodeInteger(text.length), text];
}

/** With a prefix of seven bits, the first of which is 0: no Huffman code. */
function encodeInteger(value: number): Buffer {
  if (value < 0x7f) return Buffer.of(value);
  const bytes = [0x7f];
  let rest = value - 0x7f;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.of(...bytes, rest);
}

/** Decodes the header blocks of one connection, in the order in which they come (RFC 7541). */
export interface HeaderDecoder {
  /** @throws ProtocolError for what is no header block: the connection cannot go on. */
  decode(block: Uint8Array): Header[];
}

export function createHeaderDecoder(): HeaderDecoder {
  /** Newest first. */
  const dynamic: Header[] = [];
  let held = 0;
  let limit = DEFAULT_TABLE_BYTES;

  function evict(): void {
    while (held > limit) {
      const [name, value] = dynamic.pop() as Header;
      held -= sizeOf(name, value);
    }
  }

  function add(header: Header): void {
    held += sizeOf(...header);
    dynamic.unshift(header);
    evict();
  }

  function entry(index: number): Header {
    const found = index <= STATIC_TABLE.length ? STATIC_TABLE[index - 1] : dynamic[index - STATIC_TABLE.length - 1];
    if (found === undefined) throw new ProtocolError(`header ${index} of a table that has no such one`);
    return found;
  }

  return {
    decode(block) {
      const headers: Header[] = [];
      let at = 0;
      let total = 0;

      /** An integer with a prefix of so many bits (RFC 7541, 5.1). */
      function integer(bits: number): number {
        const mask = (1 << bits) - 1;
        let value = byte() & mask;
        if (value < mask) return value;
        for (let shift = 0; ; shift += 7) {
          if (shift > 21) throw new ProtocolError('an integer that is too large');
          const next = byte();
          value += (next & 0x7f) << shift;
          if (next < 0x80) return value;
        }
      }

      function byte(): number {
        const next = block[at++];
        if (next === undefined) throw new ProtocolError('a header block that ends too early');
        return next;
      }

      function text(): string {
        const isHuffman = ((block[at] ?? 0) & 0x80) !== 0;
        const length = integer(7);
        if (at + length > block.length) throw new ProtocolError('a header block that ends within a string');
        const bytes = block.subarray(at, at + length);
        at += length;
        return (isHuffman ? decodeHuffman(bytes) : Buffer.from(bytes)).toString('latin1');
      }

      while (at < block.length) {
        const first = block[at] as number;
        if ((first & 0xe0) === 0x20) {
          limit = integer(5);
          if (limit > DEFAULT_TABLE_BYTES)
            throw new ProtocolError(`a header table of ${limit} bytes, which is more than was allowed`);
          evict();
          continue;
        }
        let header: Header;
        if ((first & 0x80) !== 0) header = entry(integer(7));
        else {
          const isIndexed = (first & 0x40) !== 0;
          const index = integer(isIndexed ? 6 : 4);
          const name = index === 0 ? text() : entry(index)[0];
          header = [name, text()];
          if (isIndexed) add(header);
        }
        total += sizeOf(...header);
        if (total > MAX_HEADER_BYTES) throw new ProtocolError(`more than ${MAX_HEADER_BYTES} bytes of headers`);
        headers.push(header);
      }
      return headers;
    },
  };
}

function sizeOf(name: string, value: string): number {
  return name.length + value.length + ENTRY_OVERHEAD;
}
