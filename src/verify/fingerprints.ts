const START_SLOTS = 1 << 12;
/** Above this share of used slots the table grows. */
const LOAD = 0.7;

/** 64 bits of a digest, as two unsigned halves. */
export interface Fingerprint {
  readonly high: number;
  readonly low: number;
}

/** What the table keeps of one identity. */
export interface Entry {
  content: Fingerprint;
  /** Where it stands in its lane. */
  readonly ordinal: number;
  readonly lane: number;
  flags: number;
}

/**
 * Fingerprints of identities with a fingerprint of their content and a few numbers, in typed arrays: 33 bytes a slot,
 * so 47 to 95 bytes an identity. Two identities are taken for one with a probability of 2^-64 a pair.
 */
export class FingerprintTable {
  #slots = START_SLOTS;
  #size = 0;
  #keys = new Uint32Array(2 * START_SLOTS);
  #contents = new Uint32Array(2 * START_SLOTS);
  #ordinals = new Float64Array(START_SLOTS);
  #lanes = new Uint32Array(START_SLOTS);
  /** 0: the slot is free. Of what callers see, 1 is taken off. */
  #flags = new Uint8Array(START_SLOTS);

  get size(): number {
    return this.#size;
  }

  /** The entry's slot, or -1. */
  find(key: Fingerprint): number {
    const slot = this.#seek(key);
    return this.#flags[slot] === 0 ? -1 : slot;
  }

  /** Adds an identity, or replaces what is kept of it. Returns false where it was there already. */
  put(key: Fingerprint, content: Fingerprint, ordinal = 0, lane = 0, flags = 0): boolean {
    if (this.#size >= this.#slots * LOAD) this.#grow();
    const slot = this.#seek(key);
    const isNew = this.#flags[slot] === 0;
    this.#write(slot, key, content, ordinal, lane, flags + 1);
    if (isNew) this.#size++;
    return isNew;
  }

  at(slot: number): Entry & { readonly key: Fingerprint } {
    return {
      key: halves(this.#keys, slot),
      content: halves(this.#contents, slot),
      ordinal: this.#ordinals[slot] as number,
      lane: this.#lanes[slot] as number,
      flags: (this.#flags[slot] as number) - 1,
    };
  }

  addFlags(slot: number, flags: number): void {
    this.#flags[slot] = (((this.#flags[slot] as number) - 1) | flags) + 1;
  }

  *slots(): Generator<number> {
    for (let slot = 0; slot < this.#slots; slot++) if (this.#flags[slot] !== 0) yield slot;
  }

  #seek({ high, low }: Fingerprint): number {
    const mask = this.#slots - 1;
    let slot = low & mask;
    while (this.#flags[slot] !== 0 && (this.#keys[2 * slot] !== high || this.#keys[2 * slot + 1] !== low)) {
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  #write(slot: number, key: Fingerprint, content: Fingerprint, ordinal: number, lane: number, flags: number): void {
    this.#keys[2 * slot] = key.high;
    this.#keys[2 * slot + 1] = key.low;
    this.#contents[2 * slot] = content.high;
    this.#contents[2 * slot + 1] = content.low;
    this.#ordinals[slot] = ordinal;
    this.#lanes[slot] = lane;
    this.#flags[slot] = flags;
  }

  #grow(): void {
    const [slots, keys, contents] = [this.#slots, this.#keys, this.#contents];
    const [ordinals, lanes, flags] = [this.#ordinals, this.#lanes, this.#flags];
    this.#slots = slots * 2;
    this.#keys = new Uint32Array(2 * this.#slots);
    this.#contents = new Uint32Array(2 * this.#slots);
    this.#ordinals = new Float64Array(this.#slots);
    this.#lanes = new Uint32Array(this.#slots);
    this.#flags = new Uint8Array(this.#slots);
    for (let slot = 0; slot < slots; slot++) {
      if (flags[slot] === 0) continue;
      const key = halves(keys, slot);
      const [ordinal, lane] = [ordinals[slot] as number, lanes[slot] as number];
      this.#write(this.#seek(key), key, halves(contents, slot), ordinal, lane, flags[slot] as number);
    }
  }
}

export function isSame(one: Fingerprint, other: Fingerprint): boolean {
  return one.high === other.high && one.low === other.low;
}

function halves(array: Uint32Array, slot: number): Fingerprint {
  return { high: array[2 * slot] as number, low: array[2 * slot + 1] as number };
}
