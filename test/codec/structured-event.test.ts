import { describe, expect, it } from 'vitest';
import { readStructuredEvent, writeStructuredEvent } from '../../src/codec/structured-event.ts';

const TYPE = 'application/cloudevents+json; charset=UTF-8';
const EVENT = { specversion: '1.0', id: '1', source: '/shop', type: 'shop.AddItem' };

const read = (
  value: object | string | Buffer,
  contentType = TYPE,
  others: Parameters<typeof readStructuredEvent>[2] = [],
) =>
  readStructuredEvent(
    Buffer.isBuffer(value) ? value : Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)),
    contentType,
    others,
  );
const textOf = (members: object): string => read({ ...EVENT, ...members }).data.toString();

describe('readStructuredEvent', () => {
  it('gives attributes and extensions as the headers of binary mode would, and the data with its content type', () => {
    const event = read({
      ...EVENT,
      subject: 'cart-1',
      time: '2026-01-02T03:04:05.678+01:00',
      dataschema: 'urn:x',
      tenant: 'acme',
      retries: 3,
      urgent: true,
      gone: null,
      data: { cartId: 'c' },
    });

    expect(event).toEqual({
      metadata: [
        { key: 'ce-specversion', value: '1.0' },
        { key: 'ce-id', value: '1' },
        { key: 'ce-source', value: '/shop' },
        { key: 'ce-type', value: 'shop.AddItem' },
        { key: 'ce-subject', value: 'cart-1' },
        { key: 'ce-time', value: '2026-01-02T03:04:05.678+01:00' },
        { key: 'ce-dataschema', value: 'urn:x' },
        { key: 'ce-tenant', value: 'acme' },
        { key: 'ce-retries', value: '3' },
        { key: 'ce-urgent', value: 'true' },
        { key: 'Content-Type', value: 'application/json' },
      ],
      ceType: 'shop.AddItem',
      contentType: 'application/json',
      data: Buffer.from('{"cartId":"c"}'),
    });
  });

  it('keeps JSON data as it stands, every digit of it', () => {
    const data = '{ "n": 9007199254740993, "s": "a\\"}\\u0041,", "l": [1, {"x": "]"}] }';

    expect(read(`{"data" : ${data} ,"specversion":"1.0","id":"1","source":"/s","type":"t"}`).data.toString()).toBe(
      data,
    );
  });

  it('gives text and bytes as they are meant', () => {
    expect(textOf({ datacontenttype: 'text/plain', data: 'hällo' })).toBe('hällo');
    expect(textOf({ datacontenttype: 'application/xml', data: '<a/>' })).toBe('<a/>');
    expect(textOf({ data: 'hällo' })).toBe('"hällo"');
    expect(textOf({ datacontenttype: 'application/vnd.x+json', data: [1] })).toBe('[1]');
    const bytes = read({ ...EVENT, datacontenttype: 'application/protobuf', data_base64: 'CgFh' });
    expect(bytes.data).toEqual(Buffer.from('\x0a\x01a'));
    expect(bytes.contentType).toBe('application/protobuf');
    expect(read({ ...EVENT, data_base64: 'CgFh' }).contentType).toBe('application/octet-stream');
  });

  it('has no data and no content type where there are none', () => {
    for (const members of [{}, { data: null }, { data_base64: null }, { datacontenttype: 'text/plain' }]) {
      const { data, contentType, metadata } = read({ ...EVENT, ...members });
      expect([data.length, contentType]).toEqual([0, undefined]);
      expect(metadata.some(({ key }) => key === 'Content-Type')).toBe(false);
    }
  });

  it("keeps the record's other headers, and believes none of its attributes beside the event's", () => {
    const { metadata } = read(EVENT, TYPE, [
      { key: 'ce-id', value: 'other' },
      { key: 'Content-Type', value: TYPE },
      { key: 'tag', value: 'x' },
    ]);

    expect(metadata.filter(({ key }) => key === 'ce-id')).toEqual([{ key: 'ce-id', value: '1' }]);
    expect(metadata.at(-1)).toEqual({ key: 'tag', value: 'x' });
  });

  it.each<[string, object | string | Buffer, RegExp, string?]>([
    ['no JSON', '{', /JSON/],
    ['a byte order mark', `\ufeff${JSON.stringify(EVENT)}`, /JSON/],
    ['bytes that are no UTF-8', Buffer.from([0x22, 0xff]), /UTF-8/],
    ['a list', [EVENT], /a record is one event/],
    ['a text', '"x"', /no JSON object/],
    ['a batch', [EVENT], /batch.*each event in a record/, 'application/cloudevents-batch+json'],
    [
      'another event format',
      Buffer.from('\x0a'),
      /cloudevents\+protobuf, and only/,
      'application/cloudevents+protobuf',
    ],
    ['no id', { ...EVENT, id: undefined }, /has no id/],
    ['no source', { ...EVENT, source: undefined }, /has no source/],
    ['no type', { ...EVENT, type: null }, /has no type/],
    ['no specversion', { ...EVENT, specversion: undefined }, /has no specversion/],
    ['an empty id', { ...EVENT, id: '' }, /id is empty/],
    ['another specversion', { ...EVENT, specversion: '0.3' }, /specversion is "0\.3", and 1\.0/],
    ['a number as id', { ...EVENT, id: 7 }, /attribute id is 7, and a text/],
    ['a structure as extension', { ...EVENT, own: { a: 1 } }, /own is a structure/],
    ['a number that is too large', { ...EVENT, own: 2 ** 31 }, /whole one of 32 bits/],
    ['a fraction', { ...EVENT, own: 1.5 }, /whole one of 32 bits/],
    ['a name in capitals', { ...EVENT, Own: 'x' }, /"Own" is not named/],
    ['__proto__', '{"__proto__":"x","specversion":"1.0"}', /"__proto__" is not named/],
    ['a name twice', '{"specversion":"1.0","id":"1","id":"2","source":"/s","type":"t"}', /"id" is there twice/],
    ['a name twice, once in escapes', '{"id":"1","i\\u0064":"2"}', /"id" is there twice/],
    ['a time that is none', { ...EVENT, time: 'yesterday' }, /RFC 3339/],
    ['data and data_base64', { ...EVENT, data: 1, data_base64: 'AA==' }, /both data and data_base64/],
    ['base64 that is none', { ...EVENT, data_base64: 'A' }, /not base64/],
    ['base64 of the other alphabet', { ...EVENT, data_base64: '_-8=' }, /not base64/],
    ['a structure as protobuf', { ...EVENT, datacontenttype: 'application/protobuf', data: {} }, /data_base64/],
    [
      'half a surrogate pair in text',
      `{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"text/plain","data":"\\ud800"}`,
      /surrogate/,
    ],
    [
      'half a surrogate pair in an attribute',
      '{"specversion":"1.0","id":"\\udc00","source":"/s","type":"t"}',
      /surrogate/,
    ],
  ])('refuses %s, and says so', (_title, value, sentence, contentType) => {
    expect(() => read(value, contentType)).toThrow(
      expect.objectContaining({ code: 'RECORD_UNDECODABLE', message: expect.stringMatching(sentence) }),
    );
  });
});

describe('writeStructuredEvent', () => {
  const ATTRIBUTES = [
    ['specversion', '1.0'],
    ['id', 'a/1/2/reply'],
    ['type', 't'],
    ['source', '/d/s'],
  ] as const;

  it.each<[string, string, string]>([
    ['application/json', '{"n": 9007199254740993}', '"data":{"n": 9007199254740993}'],
    ['text/plain; charset=utf-8', 'a"b', '"data":"a\\"b"'],
    ['application/protobuf', '\x0a\x01a', '"data_base64":"CgFh"'],
    ['application/octet-stream', '', '"data_base64":""'],
  ])('puts data of %s where it belongs, and is read back', (contentType, data, member) => {
    const written = writeStructuredEvent(ATTRIBUTES, contentType, Buffer.from(data));

    expect(written.toString()).toBe(
      `{"specversion":"1.0","id":"a/1/2/reply","type":"t","source":"/d/s","datacontenttype":"${contentType}",${member}}`,
    );
    expect(readStructuredEvent(written, 'application/cloudevents+json', [])).toMatchObject({
      ceType: 't',
      contentType,
      data: Buffer.from(data),
    });
  });
});
