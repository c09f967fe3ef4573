import { deadLetter } from '../../../src/codec/dead-letter.ts';
import { DEAD_LETTER_HEADERS } from '../../../src/codec/header-names.ts';
import { readLetter } from '../../../src/codec/letter.ts';
import type { InputRecord } from '../../../src/model/record.ts';
import { Broken, Cursor, type FuzzTarget, joined } from '../target.ts';

const NAMES = Object.values(DEAD_LETTER_HEADERS);

/** Records of the dead-letter topic, which others may write to: each is a letter, which says the same written again, or none. */
export function letters(): FuzzTarget {
  return {
    seeds: [
      joined(
        ['RECORD_UNDECODABLE'],
        ['because'],
        ['t'],
        ['3'],
        ['44'],
        ['1600000000000'],
        ['1'],
        ['s'],
        ['m'],
        [''],
        'value',
      ),
      joined(['X'], [''], ['t/u'], ['0'], ['-1'], [''], [''], [''], [''], ['value'], ''),
    ],
    words: ['-', '0', '9'.repeat(40), '1e5', 'NaN', '0x10', '\xff', '\n', ' 1'],
    run(input) {
      const cursor = new Cursor(input);
      const headers: Record<string, Buffer> = {};
      for (const name of NAMES) {
        const value = cursor.part();
        if (value.length > 0) headers[name] = value;
      }
      const record: InputRecord = {
        topic: 'letters',
        partition: 0,
        offset: 5n,
        timestamp: 6,
        key: null,
        value: cursor.rest(),
        headers: { own: Buffer.from('x'), ...headers },
      };
      const letter = readLetter(record);
      if (letter === undefined) return;
      const written = deadLetter({
        record: letter.record,
        topic: 'letters',
        partition: 0,
        error: { code: letter.code, message: letter.error },
        at: letter.failedAt ?? 0,
      });
      const again = readLetter({
        ...record,
        headers: Object.fromEntries(written.headers.map(([name, value]) => [name, Buffer.from(value as string)])),
      });
      if (again === undefined) throw new Broken('a letter that is written again is none');
      if (!Number.isSafeInteger(again.record.partition) || !Number.isFinite(again.record.timestamp)) {
        throw new Broken(`it is of partition ${again.record.partition}, at ${again.record.timestamp}`);
      }
      if (again.record.offset !== letter.record.offset || again.record.topic !== letter.record.topic) {
        throw new Broken('a letter that is written again is of another record');
      }
    },
  };
}
