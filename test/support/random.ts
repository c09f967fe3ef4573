/** Seeded random choices for property tests: the same seed makes the same choices. */
export interface Random {
  /** An integer from 0 up to, and not including, `below`. */
  int(below: number): number;
  pick<T>(from: readonly T[]): T;
  bytes(length: number): Buffer;
  /** Text of up to `most` characters, from ASCII to emoji. */
  text(most: number): string;
}

const CHARACTERS = ['a', 'Z', '0', '-', '/', ' ', '\n', 'ä', 'ß', '€', '漢', '😀', '𝒳'];

export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  // Mulberry32: a Weyl sequence through a mixing function.
  function next(): number {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
  const int = (below: number): number => Math.floor(next() * below);
  const pick = <T>(from: readonly T[]): T => from[int(from.length)] as T;
  return {
    int,
    pick,
    bytes: (length) => Buffer.from(Array.from({ length }, () => int(256))),
    text: (most) => Array.from({ length: int(most + 1) }, () => pick(CHARACTERS)).join(''),
  };
}
