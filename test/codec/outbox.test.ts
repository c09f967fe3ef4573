import protobuf from 'protobufjs';
import { describe, expect, it } from 'vitest';
import { decodeOutbox, encodeOutbox } from '../../src/codec/outbox.ts';
import type { OutputRecord } from '../../src/model/record.ts';
import { packagePath } from '../../src/package-path.ts';
import { createRandom, type Random } from '../support/random.ts';

const CONTRACT = protobuf
  .loadSync(packagePath('proto/stateferry/internal.proto'))
  .lookupType('stateferry.internal.Outbox');

function record(given: Partial<OutputRecord> = {}): OutputRecord {
  return { topic: 'out', partition: 0, key: null, value: null, headers: [], ...given };
}

/** As decodeOutbox gives it: header values as bytes, all bytes comparable. */
function plain(records: readonly OutputRecord[]): unknown {
  return records.map(({ topic, partition, key, value, headers }) => ({
    topic,
    partition,
    key: key && Buffer.from(key).toString('hex'),
    value: value && Buffer.from(value).toString('hex'),
    headers: headers.map(([name, text]) => [name, Buffer.from(text).toString('hex')]),
  }));
}

function anyRecord(random: Random): OutputRecord {
  return {
    topic: random.pick(['out', 'events', 'shop-commands', 'ä']),
    partition: random.int(2 ** 31),
    key: random.pick([null, random.bytes(random.int(30))]),
    value: random.pick([null, random.bytes(random.int(400))]),
    headers: Array.from({ length: random.int(9) }, (): readonly [string, string | Uint8Array] => [
      random.pick(['ce_id', 'ce_type', 'content-type', '', `x-${random.int(100)}`]),
      random.pick([random.text(200), random.bytes(random.int(200))]),
    ]),
  };
}

describe('encodeOutbox and decodeOutbox', () => {
  it('keep records and their order, headers and their order: 300 random outboxes', () => {
    const random = createRandom(9);
    for (let round = 0; round < 300; round += 1) {
      const records = Array.from({ length: random.int(20) }, () => anyRecord(random));

      expect(plain(decodeOutbox(encodeOutbox(records)))).toEqual(plain(records));
    }
  });

  it('tell null from empty, in key and value', () => {
    const records = [record({ key: null, value: Buffer.alloc(0) }), record({ key: Buffer.alloc(0), value: null })];

    const [first, second] = decodeOutbox(encodeOutbox(records));

    expect(first?.key).toBeNull();
    expect(first?.value).toHaveLength(0);
    expect(second?.key).toHaveLength(0);
    expect(second?.value).toBeNull();
  });

  it('give header values as bytes', () => {
    const [decoded] = decodeOutbox(
      encodeOutbox([
        record({
          headers: [
            ['a', 'ä'],
            ['a', Buffer.from([1])],
          ],
        }),
      ]),
    );

    expect(decoded?.headers).toEqual([
      ['a', Buffer.from('ä')],
      ['a', Buffer.from([1])],
    ]);
  });

  it('write a topic and a header name once, however many records share them', () => {
    const one = record({ topic: 'a-long-topic-name', headers: [['a-long-header-name', '1']] });

    const size = (count: number): number => encodeOutbox(Array(count).fill(one)).length;

    expect(size(101) - size(1)).toBeLessThan(100 * 20);
  });

  it('read back any number of records, also none', () => {
    expect(encodeOutbox([])).toHaveLength(0);
    expect(decodeOutbox(new Uint8Array(0))).toEqual([]);
    expect(decodeOutbox(encodeOutbox(Array(10_000).fill(record())))).toHaveLength(10_000);
  });

  it('are what proto/stateferry/internal.proto says', () => {
    const said = {
      topics: ['out', 'events'],
      headerNames: ['ce_id', 'ce_type'],
      records: [
        {
          partition: 7,
          key: Buffer.from('k'),
          headers: [{ value: Buffer.from('1') }, { name: 1, value: Buffer.from('t') }],
        },
        { topic: 1, value: Buffer.alloc(0) },
      ],
    };
    const records = [
      record({
        partition: 7,
        key: Buffer.from('k'),
        headers: [
          ['ce_id', '1'],
          ['ce_type', 't'],
        ],
      }),
      record({ topic: 'events', value: Buffer.alloc(0) }),
    ];

    expect(CONTRACT.toObject(CONTRACT.decode(encodeOutbox(records)))).toEqual(said);
    expect(plain(decodeOutbox(CONTRACT.encode(said).finish()))).toEqual(plain(records));
  });
});

/** One topic, t, and one header name, h. */
const TABLES = [0x0a, 1, 0x74, 0x12, 1, 0x68];

describe('decodeOutbox', () => {
  it('passes over fields of a later version, in the outbox, a record and a header', () => {
    const later = [0xf8, 0x07, 0x01];
    const header = [0x08, 0, 0x12, 1, 0x31, ...later];
    const bytes = [...TABLES, 0x1a, 2 + header.length + 3, 0x2a, header.length, ...header, ...later];

    expect(plain(decodeOutbox(Buffer.from([...bytes, ...later])))).toEqual(
      plain([record({ topic: 't', headers: [['h', '1']] })]),
    );
  });

  it.each([
    ['a topic that is not in the table', [0x1a, 2, 0x08, 0]],
    ['a header name that is not in the table', [0x0a, 1, 0x74, 0x1a, 4, 0x2a, 2, 0x08, 0]],
    ['a record beyond the end', [0x0a, 1, 0x74, 0x1a, 9, 0x08, 0]],
    ['a value that goes past its record', [...TABLES, 0x1a, 2, 0x22, 3, 0xf8, 0x07, 0x01]],
    ['a header that goes past its record', [...TABLES, 0x1a, 2, 0x2a, 3, 0xf8, 0x07, 0x01]],
    ['a header value that goes past its header', [...TABLES, 0x1a, 7, 0x2a, 2, 0x12, 3, 0xf8, 0x07, 0x01]],
    ['wire type 7', [0x0f]],
    ['a text', [...Buffer.from('{"outbox":1}')]],
  ])('refuses %s, as JOURNAL_UNREADABLE', (_title, bytes) => {
    expect(() => decodeOutbox(Buffer.from(bytes))).toThrow(expect.objectContaining({ code: 'JOURNAL_UNREADABLE' }));
  });
});
