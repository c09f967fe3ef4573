import { beforeAll, describe, expect, it } from 'vitest';
import { wrapBytes, wrapJson, wrapString } from '../../src/codec/any.ts';
import { createDecoder } from '../../src/codec/decode.ts';
import { createEncoder, type Destination, type Output } from '../../src/codec/encode.ts';
import { jsonToPayload } from '../../src/codec/json.ts';
import type { Payload } from '../../src/model/payload.ts';
import type { OutputRecord } from '../../src/model/record.ts';
import { ANY_URLS } from '../../src/protocol/any-urls.ts';
import { partitionFor } from '../../src/topics/partition.ts';
import { inputRecord } from '../support/records.ts';
import { createShop, type Shop } from '../support/shop.ts';

const PROTOBUF: Destination = { topic: 'out', format: 'protobuf', partitions: 12 };
const AS_JSON: Destination = { topic: 'out', format: 'json', partitions: 12 };
const URLS = ANY_URLS.kalix;

let shop: Shop;
let added: Payload;
beforeAll(() => {
  shop = createShop();
  added = {
    typeUrl: 'type.googleapis.com/shop.AddItem',
    value: Buffer.from(jsonToPayload(shop.descriptors, 'shop.AddItem', '{"cartId":"cart-1","quantity":2}')),
  };
});

function encode(given: Partial<Output> = {}): OutputRecord {
  return createEncoder({ descriptors: shop.descriptors })({
    destination: PROTOBUF,
    key: Buffer.from('cart-1'),
    payload: added,
    metadata: [],
    ce: { id: 'carts/3/41', source: '/shop/shop.Cart', subject: 'cart-1' },
    origin: 'carts/3/41',
    ...given,
  });
}

function header(record: OutputRecord, name: string): unknown {
  return record.headers.find(([other]) => other === name)?.[1];
}

describe('createEncoder', () => {
  it('publishes a protobuf message with its bytes as they are and the headers of a CloudEvent', () => {
    const record = encode();

    expect(record.value).toBe(added.value);
    expect(record).toMatchObject({ topic: 'out', key: Buffer.from('cart-1') });
    expect(record.headers).toEqual([
      ['ce_specversion', '1.0'],
      ['ce_id', 'carts/3/41'],
      ['ce_type', 'shop.AddItem'],
      ['ce_source', '/shop/shop.Cart'],
      ['ce_subject', 'cart-1'],
      ['content-type', 'application/protobuf'],
      ['stateferry-origin', 'carts/3/41'],
    ]);
  });

  it('publishes a protobuf message as canonical JSON where the destination asks for it', () => {
    const record = encode({ destination: AS_JSON });

    expect(String(record.value)).toBe('{"cartId":"cart-1","quantity":2}');
    expect(header(record, 'content-type')).toBe('application/json');
    expect(header(record, 'ce_type')).toBe('shop.AddItem');
  });

  it.each<[string, Payload, string, string, string]>([
    ['JSON', wrapJson(URLS, 'Cart', Buffer.from('{"b": 1}')), '{"b": 1}', 'application/json', 'Cart'],
    ['a string', wrapString(URLS, Buffer.from('hällo')), 'hällo', 'text/plain; charset=utf-8', 'string'],
    ['bytes', wrapBytes(URLS, Buffer.from('raw')), 'raw', 'application/octet-stream', 'bytes'],
    ['an int64', { typeUrl: `${URLS.primitive}int64`, value: Buffer.from([8, 5]) }, '5', 'application/json', 'int64'],
    ['a bool', { typeUrl: `${URLS.primitive}bool`, value: Buffer.alloc(0) }, 'false', 'application/json', 'bool'],
    [
      'an empty string',
      { typeUrl: `${URLS.primitive}string`, value: Buffer.alloc(0) },
      '',
      'text/plain; charset=utf-8',
      'string',
    ],
  ])('publishes %s as what it is, whatever the destination asks for', (_title, payload, text, contentType, ceType) => {
    for (const destination of [PROTOBUF, AS_JSON]) {
      const record = encode({ payload, destination });

      expect(Buffer.from(record.value ?? []).toString()).toBe(text);
      expect(header(record, 'content-type')).toBe(contentType);
      expect(header(record, 'ce_type')).toBe(ceType);
    }
  });

  it("carries the function's metadata, and its type before the one given and the payload's", () => {
    const ce = { id: '1', type: 'given', source: '/s', subject: '' };

    expect(header(encode({ ce }), 'ce_type')).toBe('given');
    const record = encode({
      ce,
      metadata: [
        { key: 'CE-Type', value: 'own' },
        { key: 'Tag', value: 'x' },
      ],
    });
    expect(header(record, 'ce_type')).toBe('own');
    expect(header(record, 'tag')).toBe('x');
    expect(header(record, 'ce_subject')).toBeUndefined();
  });

  it("writes to the key's partition, to a given one, and without key to one that the origin decides", () => {
    const origins = Array.from({ length: 40 }, (_, n) => `carts/3/${n}`);
    const withoutKey = (): number[] => origins.map((origin) => encode({ key: null, origin }).partition);

    expect(encode().partition).toBe(partitionFor(Buffer.from('cart-1'), 12));
    expect(encode({ key: null, partition: 7 })).toMatchObject({ key: null, partition: 7 });
    expect(withoutKey()).toEqual(withoutKey());
    expect(new Set(withoutKey()).size).toBeGreaterThan(6);
  });

  it('writes the same record for the same output', () => {
    const metadata = [{ key: 'tag', value: 'x' }];

    expect(encode({ metadata })).toEqual(encode({ metadata }));
  });

  it.each<[string, Payload]>([
    [
      'a message of a type that the function does not have',
      { typeUrl: 'type.googleapis.com/no.Such', value: Buffer.alloc(0) },
    ],
    ['bytes that are not of their type', { typeUrl: 'type.googleapis.com/shop.AddItem', value: Buffer.from([0x0a]) }],
    ['a broken string', { typeUrl: `${URLS.primitive}string`, value: Buffer.from([0x0a, 9]) }],
  ])('refuses %s for a JSON topic, as FUNCTION_BROKEN_REPLY', (_title, payload) => {
    expect(() => encode({ payload, destination: AS_JSON })).toThrow(
      expect.objectContaining({ code: 'FUNCTION_BROKEN_REPLY' }),
    );
  });

  it.each([PROTOBUF, AS_JSON])('writes what createDecoder reads as the same message ($format)', (destination) => {
    const { topic, key, value, headers } = encode({ destination });
    const decoder = createDecoder({
      descriptors: shop.descriptors,
      anyUrls: URLS,
      subscriptions: [
        { topic, format: 'auto', entityId: 'auto', ignoreUnknown: false, methods: [...shop.cart.methods.values()] },
      ],
    });

    const decoded = decoder.decode(
      inputRecord({
        topic,
        key: Buffer.from(key ?? []),
        value: Buffer.from(value ?? []),
        headers: Object.fromEntries(headers.map(([name, text]) => [name, Buffer.from(text)])),
      }),
    );

    expect(decoded).toMatchObject({ kind: 'command', entityId: 'cart-1', method: { name: 'Add' } });
    expect(decoded.kind === 'command' && Buffer.from(decoded.payload.value)).toEqual(added.value);
  });
});

describe('a destination of CloudEvents', () => {
  const own = [
    { key: 'ce-tenant', value: 'acme' },
    { key: 'ce-Not_A_Name', value: 'x' },
    { key: 'tag', value: 'y' },
  ];

  it('has the whole event in the value in structured mode, the same bytes each time', () => {
    const destination = { ...AS_JSON, events: 'structured' } as const;
    const record = encode({ destination, metadata: own });

    expect(String(record.value)).toBe(
      '{"specversion":"1.0","id":"carts/3/41","type":"shop.AddItem","source":"/shop/shop.Cart","subject":"cart-1","tenant":"acme",' +
        '"datacontenttype":"application/json","data":{"cartId":"cart-1","quantity":2}}',
    );
    expect(record.headers).toEqual([
      ['content-type', 'application/cloudevents+json'],
      ['tag', 'y'],
      ['stateferry-id', 'carts/3/41'],
      ['stateferry-source', '/shop/shop.Cart'],
      ['stateferry-origin', 'carts/3/41'],
    ]);
    expect(encode({ destination, metadata: own })).toEqual(record);
  });

  it('has none of it where it is to be a plain record', () => {
    const record = encode({ destination: { ...AS_JSON, events: 'none' }, metadata: own });

    expect(String(record.value)).toBe('{"cartId":"cart-1","quantity":2}');
    expect(record.headers.map(([name]) => name)).toEqual([
      'content-type',
      'tag',
      'stateferry-id',
      'stateferry-source',
      'stateferry-origin',
    ]);
  });

  it.each(['protobuf', 'json', 'bytes'] as const)(
    'is read back from structured mode as the same message (%s)',
    (format) => {
      const { topic, key, value, headers } = encode({ destination: { ...PROTOBUF, format, events: 'structured' } });
      const decoder = createDecoder({
        descriptors: shop.descriptors,
        anyUrls: URLS,
        subscriptions: [
          {
            topic: 'out',
            format: 'cloudevents',
            entityId: 'field',
            ignoreUnknown: false,
            methods: [shop.method(shop.cart, 'Add')],
          },
        ],
      });

      const decoded = decoder.decode(
        inputRecord({
          topic,
          key: key as Buffer,
          value: Buffer.from(value as Uint8Array),
          headers: Object.fromEntries(headers) as Record<string, string>,
        }),
      );

      expect(decoded).toMatchObject({ kind: 'command', entityId: 'cart-1' });
      expect(decoded.kind === 'command' && Buffer.from(decoded.payload.value)).toEqual(Buffer.from(added.value));
    },
  );

  it('refuses JSON of the function that is none, which would make the event none', () => {
    const payload = wrapJson(URLS, 'Cart', Buffer.from('{'));

    expect(() => encode({ payload, destination: { ...AS_JSON, events: 'structured' } })).toThrow(
      expect.objectContaining({ code: 'FUNCTION_BROKEN_REPLY' }),
    );
  });
});

describe('a destination of text or bytes', () => {
  const TEXT: Destination = { topic: 'out', format: 'text', partitions: 1 };
  const RAW: Destination = { topic: 'out', format: 'bytes', partitions: 1 };
  const wrapper = (name: string, text: string): Payload => ({
    typeUrl: `type.googleapis.com/google.protobuf.${name}`,
    value: Buffer.from([0x0a, text.length, ...Buffer.from(text)]),
  });

  it.each<[Destination, Payload, string, string]>([
    [TEXT, wrapper('StringValue', 'abc'), 'abc', 'text/plain; charset=utf-8'],
    [TEXT, wrapString(URLS, Buffer.from('abc')), 'abc', 'text/plain; charset=utf-8'],
    [TEXT, wrapJson(URLS, 'Cart', Buffer.from('{"a":1}')), '{"a":1}', 'text/plain; charset=utf-8'],
    [RAW, wrapper('BytesValue', 'abc'), 'abc', 'application/octet-stream'],
    [RAW, wrapBytes(URLS, Buffer.from('abc')), 'abc', 'application/octet-stream'],
    [RAW, wrapString(URLS, Buffer.from('abc')), 'abc', 'application/octet-stream'],
    [RAW, { typeUrl: 'type.googleapis.com/shop.Done', value: Buffer.from('abc') }, 'abc', 'application/octet-stream'],
  ])('gets what is in the payload: %#', (destination, payload, text, contentType) => {
    const record = encode({ destination, payload });

    expect(Buffer.from(record.value ?? []).toString()).toBe(text);
    expect(header(record, 'content-type')).toBe(contentType);
  });

  it.each<[string, Payload]>([
    ['a message', { typeUrl: 'type.googleapis.com/shop.Done', value: Buffer.alloc(0) }],
    ['bytes', wrapBytes(URLS, Buffer.from('abc'))],
    [
      'a broken StringValue',
      { typeUrl: 'type.googleapis.com/google.protobuf.StringValue', value: Buffer.from([0x0a, 9]) },
    ],
  ])('refuses %s as text', (_title, payload) => {
    expect(() => encode({ destination: TEXT, payload })).toThrow(
      expect.objectContaining({ code: 'FUNCTION_BROKEN_REPLY' }),
    );
  });

  it('has the headers that go on, behind those of the function, which count first', () => {
    const record = encode({
      metadata: [{ key: 'tag', value: 'own' }],
      passed: [
        { key: 'tag', value: 'passed' },
        { key: 'x', value: '1' },
        { key: 'x', value: '2' },
      ],
    });

    expect(record.headers.slice(-4)).toEqual([
      ['tag', 'own'],
      ['x', '1'],
      ['x', '2'],
      ['stateferry-origin', 'carts/3/41'],
    ]);
  });
});
