/** One parser of foreign bytes, as the fuzzer drives it. */
export interface FuzzTarget {
  /** Inputs of the kind that it is made for: mutations begin with them. */
  readonly seeds: readonly Uint8Array[];
  /** Pieces that a mutation may put anywhere: key words, tags, edges of the grammar. */
  readonly words: readonly string[];
  /** Bytes of an input at most. */
  readonly maxBytes?: number;
  /** Throws, or rejects, only where a promise does not hold; refusals that are declared are its own to catch. */
  run(input: Buffer): void | Promise<void>;
}

/** A promise that did not hold. */
export class Broken extends Error {
  override readonly name = 'Broken';
}

/** Calls `read`, and lets pass what `isDeclared` says is a refusal; then undefined. */
export function orRefused<T>(read: () => T, isDeclared: (error: unknown) => boolean): T | undefined {
  try {
    return read();
  } catch (error) {
    if (isDeclared(error)) return undefined;
    throw error;
  }
}

/** @throws Broken where the two differ. */
export function same(left: Uint8Array, right: Uint8Array, what: string): void {
  if (Buffer.compare(left, right) !== 0) {
    throw new Broken(`${what}: ${Buffer.from(left).toString('hex')} is not ${Buffer.from(right).toString('hex')}`);
  }
}

/** Cuts an input into the parts that a target needs; beyond the end everything is empty. */
export class Cursor {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  byte(): number {
    return this.#bytes[this.#at++] ?? 0;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.byte() % from.length] as T;
  }

  /** A byte of length, and so many bytes. */
  part(): Buffer {
    const length = this.byte();
    const part = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return part;
  }

  rest(): Buffer {
    return this.#bytes.subarray(this.#at);
  }
}

export type Part = number | string | Uint8Array | readonly [string | Uint8Array];

/** What `Cursor` takes apart: bytes as they are, and `[...]` for a part with its length before it; a text has a byte for each character. */
export function joined(...parts: readonly Part[]): Buffer {
  return Buffer.concat(
    parts.map((part) => {
      if (typeof part === 'number') return Buffer.from([part]);
      if (typeof part === 'string' || part instanceof Uint8Array) return bytesOf(part);
      const inner = bytesOf(part[0]);
      return Buffer.concat([Buffer.from([inner.length]), inner]);
    }),
  );
}

function bytesOf(part: string | Uint8Array): Buffer {
  return typeof part === 'string' ? Buffer.from(part, 'latin1') : Buffer.from(part);
}
