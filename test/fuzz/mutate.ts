import type { Random } from '../support/random.ts';

const EDGES = [0, 1, 0x7f, 0x80, 0xff];
const VARINTS = ['00', '7f', '8001', 'ffffffff07', 'ffffffff0f', 'ffffffffffffffffff01', 'ffffffffffffffffffff01'].map(
  (hex) => Buffer.from(hex, 'hex'),
);
const LENGTHS = ['ffffffff', '7fffffff', '80000000', '00000000', '00000001', '00100000'].map((hex) =>
  Buffer.from(hex, 'hex'),
);

/**
 * Another input out of `input`: one to eight changes of the kinds that libFuzzer makes (a byte, some bytes out, in or
 * doubled, a number at an edge, a word of the grammar, a piece of another input). The same random choices, the same input.
 */
export function mutate(
  random: Random,
  input: Buffer,
  others: readonly Buffer[],
  words: readonly Buffer[],
  maxBytes: number,
): Buffer {
  let bytes: Buffer = Buffer.from(input);
  for (let changes = 1 << random.int(4); changes > 0; changes--) bytes = changed(random, bytes, others, words);
  return bytes.length > maxBytes ? bytes.subarray(0, maxBytes) : bytes;
}

function changed(random: Random, bytes: Buffer, others: readonly Buffer[], words: readonly Buffer[]): Buffer {
  const at = random.int(bytes.length + 1);
  const some = (most: number): number => 1 + random.int(Math.max(1, Math.min(most, bytes.length - at)));
  switch (random.int(12)) {
    case 0:
      if (at < bytes.length) bytes[at] = (bytes[at] as number) ^ (1 << random.int(8));
      return bytes;
    case 1:
      if (at < bytes.length) bytes[at] = random.int(256);
      return bytes;
    case 2:
      if (at < bytes.length) bytes[at] = random.pick(EDGES);
      return bytes;
    case 3:
      if (at < bytes.length) bytes[at] = ((bytes[at] as number) + random.pick([1, -1, 2, -2, 8, -8])) & 0xff;
      return bytes;
    case 4:
      return spliced(bytes, at, some(16), Buffer.alloc(0));
    case 5:
      return bytes.subarray(0, at);
    case 6: {
      const piece = bytes.subarray(at, at + some(32));
      let many = piece;
      for (let times = random.int(5); times > 0 && many.length < 4_096; times--) many = Buffer.concat([many, many]);
      return spliced(bytes, at, 0, many);
    }
    case 7:
      return spliced(bytes, at, random.int(3), random.pick(VARINTS));
    case 8:
      return spliced(bytes, at, random.pick([0, 4]), random.pick(LENGTHS));
    case 9:
    case 10:
      if (words.length > 0) return spliced(bytes, at, random.pick([0, 0, 1, 4]), random.pick(words));
      return spliced(bytes, at, 0, random.bytes(1 + random.int(4)));
    default: {
      const other = random.pick(others);
      const from = random.int(other.length + 1);
      return spliced(bytes, at, random.int(2) === 0 ? 0 : some(64), other.subarray(from, from + 1 + random.int(64)));
    }
  }
}

function spliced(bytes: Buffer, at: number, out: number, into: Buffer): Buffer {
  return Buffer.concat([bytes.subarray(0, at), into, bytes.subarray(at + out)]);
}
