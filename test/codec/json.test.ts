import { beforeAll, describe, expect, it } from 'vitest';
import { wrapBytes, wrapJson, wrapString } from '../../src/codec/any.ts';
import { jsonToPayload, payloadToJson } from '../../src/codec/json.ts';
import { ANY_URLS } from '../../src/protocol/any-urls.ts';
import { createRandom } from '../support/random.ts';
import { createShop, type Shop } from '../support/shop.ts';

let shop: Shop;
beforeAll(() => {
  shop = createShop();
});

function addItem(text: string, options?: { ignoreUnknown: boolean }): Uint8Array {
  return jsonToPayload(shop.descriptors, 'shop.AddItem', text, options);
}

function toJson(value: Uint8Array, emitDefaults = false): string {
  return payloadToJson(shop.descriptors, { typeUrl: 'type.googleapis.com/shop.AddItem', value }, { emitDefaults });
}

describe('jsonToPayload and payloadToJson', () => {
  it('follow the canonical JSON of protobuf, there and back', () => {
    const canonical =
      '{"cartId":"c","quantity":-2,"item":{"name":"n","supplier":"9007199254740993"},"sizes":["-1"],' +
      '"labels":{"k":{"name":"v"}},"mood":"EAGER","extra":{"@type":"type.googleapis.com/shop.Keyless","text":"t"},' +
      '"at":"2026-01-02T03:04:05.600Z","serial":"18446744073709551615","price":"NaN","picture":"AP8="}';

    expect(JSON.parse(toJson(addItem(canonical)))).toEqual(JSON.parse(canonical));
  });

  it('read both spellings of a field name, numbers as strings and the other way round', () => {
    expect(toJson(addItem('{"cart_id":"c","quantity":"5","sizes":[7]}'))).toBe(
      '{"cartId":"c","quantity":5,"sizes":["7"]}',
    );
  });

  it('write fields that hold their default only where asked to; unset messages and oneofs never', () => {
    const bytes = jsonToPayload(shop.descriptors, 'shop.Item', '{}');
    const payload = { typeUrl: 'type.googleapis.com/shop.Item', value: bytes };

    expect(payloadToJson(shop.descriptors, payload)).toBe('{}');
    expect(payloadToJson(shop.descriptors, payload, { emitDefaults: true })).toBe('{"name":"","weight":0}');
  });

  it('carry any text unchanged: 300 random ones', () => {
    const random = createRandom(5);
    for (let round = 0; round < 300; round += 1) {
      const product = `${random.text(40)}.`;
      expect(JSON.parse(toJson(addItem(JSON.stringify({ product }))))).toEqual({ product });
    }
  });
});

describe('jsonToPayload', () => {
  it('passes over fields and enum values that the type does not have, unless told to refuse them', () => {
    const text = '{"cartId":"c","colour":"red","mood":"SLEEPY"}';

    expect(toJson(addItem(text))).toBe('{"cartId":"c"}');
    expect(() => addItem(text, { ignoreUnknown: false })).toThrow(
      expect.objectContaining({ code: 'RECORD_UNDECODABLE', message: expect.stringContaining('colour') }),
    );
  });

  it.each([
    ['no JSON', '{"cartId":'],
    ['an empty value', ''],
    ['a list', '[]'],
    ['null', 'null'],
    ['a number for a string', '{"cartId":5}'],
    ['a fraction for an integer', '{"quantity":1.5}'],
    ['an integer that does not fit', '{"quantity":3000000000}'],
    ['base64 that is none', '{"picture":"*"}'],
    ['a time that is none', '{"at":"yesterday"}'],
    ['an Any of an unknown type', '{"extra":{"@type":"type.googleapis.com/no.Such"}}'],
    ['a field that is there twice', '{"cartId":"a","cartId":"b"}'],
  ])('refuses %s, as RECORD_UNDECODABLE that names the type', (_title, text) => {
    expect(() => addItem(text)).toThrow(
      expect.objectContaining({ code: 'RECORD_UNDECODABLE', message: expect.stringContaining('shop.AddItem') }),
    );
  });

  it('refuses a type that the function does not have, as FUNCTION_SPEC', () => {
    expect(() => jsonToPayload(shop.descriptors, 'no.Such', '{}')).toThrow(
      expect.objectContaining({ code: 'FUNCTION_SPEC' }),
    );
  });
});

describe('payloadToJson', () => {
  const urls = ANY_URLS.kalix;

  it('gives JSON payloads as they are and primitives as their JSON', () => {
    const json = (payload: Parameters<typeof payloadToJson>[1]): string => payloadToJson(shop.descriptors, payload);

    expect(json(wrapJson(urls, 'Cart', Buffer.from('{"b":1, "a":2}')))).toBe('{"b":1, "a":2}');
    expect(json(wrapString(urls, Buffer.from('say "hi"')))).toBe('"say \\"hi\\""');
    expect(json(wrapBytes(urls, Buffer.from([0, 255])))).toBe('"AP8="');
    expect(json({ typeUrl: `${urls.primitive}int64`, value: Buffer.from([0x08, 0x05]) })).toBe('5');
  });

  it.each([
    ['a type that the function does not have', 'no.Such', []],
    ['bytes that are not of their type', 'shop.AddItem', [0x0a, 0x05]],
    ['an Any of an unknown type inside', 'shop.AddItem', [0x42, 0x05, 0x0a, 0x03, 0x78, 0x2f, 0x79]],
  ])('refuses %s, as FUNCTION_BROKEN_REPLY', (_title, typeName, bytes) => {
    const payload = { typeUrl: `type.googleapis.com/${typeName}`, value: Buffer.from(bytes) };

    expect(() => payloadToJson(shop.descriptors, payload)).toThrow(
      expect.objectContaining({ code: 'FUNCTION_BROKEN_REPLY', message: expect.stringContaining(typeName) }),
    );
  });
});
