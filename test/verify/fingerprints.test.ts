import { expect, it } from 'vitest';
import { FingerprintTable, isSame } from '../../src/verify/fingerprints.ts';
import { fingerprintOf } from '../../src/verify/identity.ts';

const MANY = 20_000;

it('keeps what it is given of each identity, however many there are', () => {
  const table = new FingerprintTable();
  for (let n = 0; n < MANY; n++) {
    table.put(fingerprintOf(`id ${n}`), fingerprintOf(`content ${n}`), n * 2 ** 20, n % 7, n % 4);
  }
  expect(table.size).toBe(MANY);
  const wrong = Array.from({ length: MANY }, (_, n) => n).filter((n) => {
    const entry = table.at(table.find(fingerprintOf(`id ${n}`)));
    const isKept = entry.ordinal === n * 2 ** 20 && entry.lane === n % 7 && entry.flags === n % 4;
    return !isKept || !isSame(entry.content, fingerprintOf(`content ${n}`));
  });
  expect(wrong).toEqual([]);
  expect([...table.slots()]).toHaveLength(MANY);
  expect(table.find(fingerprintOf('another'))).toBe(-1);
});

it('tells an identity that it has', () => {
  const table = new FingerprintTable();
  const [key, content] = [fingerprintOf('id'), fingerprintOf('content')];
  expect(table.put(key, content)).toBe(true);
  expect(table.put(key, content)).toBe(false);
  expect(table.size).toBe(1);
});

it('adds flags and keeps those that are there', () => {
  const table = new FingerprintTable();
  table.put(fingerprintOf('id'), fingerprintOf(''), 0, 0, 4);
  const slot = table.find(fingerprintOf('id'));
  table.addFlags(slot, 1);
  table.addFlags(slot, 1);
  expect(table.at(slot).flags).toBe(5);
});

it('keeps apart identities that share half of their fingerprint', () => {
  const table = new FingerprintTable();
  table.put({ high: 1, low: 7 }, { high: 0, low: 1 });
  table.put({ high: 2, low: 7 }, { high: 0, low: 2 });
  expect(table.at(table.find({ high: 1, low: 7 })).content.low).toBe(1);
  expect(table.at(table.find({ high: 2, low: 7 })).content.low).toBe(2);
  expect(table.find({ high: 3, low: 7 })).toBe(-1);
});
