import type { InputRecord } from '../../src/model/record.ts';

/** An input record with what the test does not care about filled in. */
export function inputRecord(given: Partial<InputRecord> = {}): InputRecord {
  return {
    topic: 'carts',
    partition: 3,
    offset: 41n,
    key: null,
    value: Buffer.alloc(0),
    headers: {},
    timestamp: 1_700_000_000_000,
    ...given,
  };
}

/** As many input records of one topic, one after another. */
export function inputRecords(count: number): InputRecord[] {
  return Array.from({ length: count }, (_, i) => inputRecord({ offset: BigInt(41 + i) }));
}
