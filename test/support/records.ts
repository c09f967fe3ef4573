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
