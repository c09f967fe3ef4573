import { Writer } from 'protobufjs/minimal.js';
import { describe, expect, it } from 'vitest';
import { readAny, wrapBytes, wrapJson, wrapString } from '../../src/codec/any.ts';
import { ANY_URLS } from '../../src/protocol/any-urls.ts';

const DIALECTS = Object.entries(ANY_URLS);

function write(fill: (writer: Writer) => Writer): Uint8Array {
  return fill(Writer.create()).finish();
}

describe.each(DIALECTS)('payloads of %s that are not protobuf messages', (_dialect, urls) => {
  it('keep JSON text, strings and bytes as they are, there and back', () => {
    const text = '{"b":1,"a":"ä😀"}';
    const bytes = Buffer.from([0, 255, 10]);

    expect(readAny(wrapJson(urls, 'Cart', Buffer.from(text)))).toEqual({ kind: 'json', type: 'Cart', text });
    expect(readAny(wrapString(urls, Buffer.from('hällo')))).toEqual({ kind: 'string', value: 'hällo' });
    expect(readAny(wrapBytes(urls, bytes))).toEqual({ kind: 'bytes', value: bytes });
  });

  it('are one field with number 1, and empty for the default', () => {
    expect(wrapString(urls, Buffer.from('hi'))).toEqual({
      typeUrl: `${urls.primitive}string`,
      value: Buffer.from([0x0a, 2, 0x68, 0x69]),
    });
    expect(wrapBytes(urls, Buffer.alloc(0)).value).toHaveLength(0);
    expect(wrapJson(urls, 'object', Buffer.from('1')).typeUrl).toBe(`${urls.json}object`);
  });

  it.each<[string, (writer: Writer) => Writer, string]>([
    ['bool', (w) => w.uint32(0x08).bool(true), 'true'],
    ['bool', (w) => w, 'false'],
    ['int32', (w) => w.uint32(0x08).int32(-7), '-7'],
    ['int64', (w) => w.uint32(0x08).int64('-9007199254740993'), '-9007199254740993'],
    ['int64', (w) => w, '0'],
    ['float', (w) => w.uint32(0x0d).float(0.5), '0.5'],
    ['double', (w) => w.uint32(0x09).double(1.25), '1.25'],
    ['double', (w) => w, '0'],
    ['double', (w) => w.uint32(0x09).double(Number.NaN), '"NaN"'],
    ['double', (w) => w.uint32(0x09).double(Number.NEGATIVE_INFINITY), '"-Infinity"'],
  ])('tell a %s as JSON text', (type, fill, text) => {
    expect(readAny({ typeUrl: urls.primitive + type, value: write(fill) })).toEqual({
      kind: type === 'bool' ? 'bool' : 'number',
      type,
      text,
    });
  });

  it('let the last of several occurrences count, and skip other fields', () => {
    const value = write((w) => w.uint32(0x0a).string('first').uint32(0x10).uint32(5).uint32(0x0a).string('last'));

    expect(readAny({ typeUrl: `${urls.primitive}string`, value })).toEqual({ kind: 'string', value: 'last' });
  });

  it.each<[string, string, number[]]>([
    ['a primitive that no dialect has', `${urls.primitive}complex`, []],
    ['a string that is not UTF-8', `${urls.primitive}string`, [0x0a, 1, 0xff]],
    ['JSON that is not UTF-8', `${urls.json}object`, [0x0a, 1, 0xff]],
    ['a length beyond the end', `${urls.primitive}bytes`, [0x0a, 9, 1]],
    ['half a double', `${urls.primitive}double`, [0x09, 1, 2]],
    ['an endless varint', `${urls.primitive}int64`, [0x08, ...Array(11).fill(0x80)]],
  ])('are refused for %s, as FUNCTION_BROKEN_REPLY', (_title, typeUrl, bytes) => {
    expect(() => readAny({ typeUrl, value: Buffer.from(bytes) })).toThrow(
      expect.objectContaining({ code: 'FUNCTION_BROKEN_REPLY', message: expect.stringContaining(typeUrl) }),
    );
  });
});

describe('readAny', () => {
  it.each(['type.googleapis.com/shop.AddItem', 'example.org/shop.AddItem', 'shop.AddItem'])(
    'takes %s for a protobuf message and does not look into it',
    (typeUrl) => {
      expect(readAny({ typeUrl, value: Buffer.from([0xff]) })).toEqual({ kind: 'protobuf', typeName: 'shop.AddItem' });
    },
  );
});
