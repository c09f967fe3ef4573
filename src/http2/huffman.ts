import { ProtocolError } from './protocol-error.ts';

/** Bits of the code of each byte, and of the end of the string last (RFC 7541, appendix B). */
// biome-ignore format: a table
const LENGTHS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
   6, 10, 10, 12, 13,  6,  8, 11, 10, 10,  8, 11,  8,  6,  6,  6,  5,  5,  5,  6,  6,  6,  6,  6,  6,  6,  7,  8, 15,  6, 12, 10,
  13,  6,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  8,  7,  8, 13, 19, 13, 14,  6,
  15,  5,  6,  5,  6,  5,  6,  6,  6,  5,  7,  7,  6,  6,  6,  5,  6,  7,  6,  5,  5,  6,  7,  7,  7,  7,  7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
];
const END = 256;
const LONGEST = 30;

/** The code is canonical: codes of one length follow each other, in the order of their symbols, after all shorter ones. */
const FIRST_CODE: number[] = [];
const SYMBOLS: number[][] = [];
for (let length = 0, code = 0; length <= LONGEST; length++) {
  const symbols = LENGTHS.flatMap((bits, symbol) => (bits === length ? [symbol] : []));
  FIRST_CODE.push(code);
  SYMBOLS.push(symbols);
  code = (code + symbols.length) << 1;
}

/**
 * Decodes a string of HPACK (RFC 7541, 5.2) into its bytes.
 * @throws ProtocolError where it ends within a code or is padded by anything but fewer than eight ones.
 */
export function decodeHuffman(bytes: Uint8Array): Buffer {
  // No code is shorter than five bits.
  const decoded = Buffer.allocUnsafe(Math.ceil((bytes.length * 8) / 5));
  let at = 0;
  let code = 0;
  let length = 0;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      code = (code << 1) | ((byte >> bit) & 1);
      length++;
      const symbol = SYMBOLS[length]?.[code - (FIRST_CODE[length] ?? 0)];
      if (symbol === undefined) {
        if (length >= LONGEST) throw new ProtocolError('a Huffman code that is none');
        continue;
      }
      if (symbol === END) throw new ProtocolError('the end of a string within it');
      decoded[at++] = symbol;
      code = 0;
      length = 0;
    }
  }
  if (length > 7 || code !== (1 << length) - 1) throw new ProtocolError('a Huffman string with wrong padding');
  return decoded.subarray(0, at);
}
