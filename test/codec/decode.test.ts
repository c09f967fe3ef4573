import { beforeAll, describe, expect, it } from 'vitest';
import { createDecoder, DEFAULT_MAX_BYTES, type Decoded, type Subscription } from '../../src/codec/decode.ts';
import { jsonToPayload } from '../../src/codec/json.ts';
import type { Method } from '../../src/model/component.ts';
import type { InputRecord } from '../../src/model/record.ts';
import { ANY_URLS } from '../../src/protocol/any-urls.ts';
import { inputRecord } from '../support/records.ts';
import { createShop, type Shop } from '../support/shop.ts';

let shop: Shop;
let add: Method;
let remove: Method;
let blind: Method;
let whatever: Method;
let onAdd: Method;
let onAny: Method;
beforeAll(() => {
  shop = createShop();
  add = shop.method(shop.cart, 'Add');
  remove = shop.method(shop.cart, 'Remove');
  blind = shop.method(shop.cart, 'Blind');
  whatever = shop.method(shop.cart, 'Whatever');
  onAdd = shop.method(shop.watch, 'OnAdd');
  onAny = shop.method(shop.watch, 'OnAny');
});

function decode(record: Partial<InputRecord>, methods: Method[], subscription: Partial<Subscription> = {}): Decoded {
  const decoder = createDecoder({
    descriptors: shop.descriptors,
    anyUrls: ANY_URLS.kalix,
    subscriptions: [
      { topic: 'carts', format: 'auto', entityId: 'auto', ignoreUnknown: false, ...subscription, methods },
    ],
  });
  return decoder.decode(inputRecord(record));
}

function addItem(json = '{"cartId":"cart-1","quantity":2}'): Buffer {
  return Buffer.from(jsonToPayload(shop.descriptors, 'shop.AddItem', json));
}

function rejected(decoded: Decoded): { code: string; message: string; method: string | undefined } {
  if (decoded.kind !== 'reject') throw new Error(`expected a reject, not ${JSON.stringify(decoded)}`);
  return { code: decoded.error.code, message: decoded.error.message, method: decoded.method?.name };
}

describe('the method', () => {
  it('is the only one where the record says no type', () => {
    expect(decode({ value: addItem() }, [add])).toMatchObject({ kind: 'command', method: add });
  });

  it.each(['shop.AddItem', 'type.googleapis.com/shop.AddItem'])('is the one that takes the type %s', (ceType) => {
    const record = { value: addItem(), headers: { ce_type: Buffer.from(ceType) } };

    expect(decode(record, [remove, add, onAny])).toMatchObject({ kind: 'command', method: add });
  });

  it('is the one that takes Any where no other takes the type, or the record says none', () => {
    expect(decode({ value: addItem(), headers: { ce_type: 'shop.Item' } }, [add, onAny])).toMatchObject({
      method: onAny,
    });
    expect(decode({ value: addItem() }, [add, remove, onAny])).toMatchObject({ method: onAny });
  });

  it('is none where the only one takes another type than the record says; both are named', () => {
    const { code, message } = rejected(decode({ value: addItem(), headers: { ce_type: 'shop.Item' } }, [add]));

    expect(code).toBe('RECORD_UNKNOWN_TYPE');
    expect(message).toMatch(/shop\.Item.*shop\.Cart\.Add takes shop\.AddItem/);
  });

  it('is none where there are several and the record says no type', () => {
    const { code, message } = rejected(decode({ value: addItem() }, [add, remove]));

    expect(code).toBe('RECORD_UNKNOWN_TYPE');
    expect(message).toMatch(/no type.*Add takes shop\.AddItem, shop\.Cart\.Remove takes shop\.RemoveItem/);
  });

  it('is none, and the record is ignored, where unknown types are to be', () => {
    const record = { value: addItem(), headers: { ce_type: 'shop.Item' } };

    expect(decode(record, [add], { ignoreUnknown: true })).toEqual({ kind: 'ignore' });
  });

  it('is none, and the record is ignored, where its type is, whatever the record holds', () => {
    const headers = { ce_type: 'shop.RemoveItem' };
    const ignored = ['shop.RemoveItem'];

    expect(decode({ value: addItem(), headers }, [add], { ignored })).toEqual({ kind: 'ignore' });
    expect(decode({ value: null, headers }, [add, onAny], { ignored })).toEqual({ kind: 'ignore' });
    expect(decode({ value: addItem(), headers: { ce_type: 'shop.Item' } }, [add, onAny], { ignored })).toMatchObject({
      method: onAny,
    });
    expect(decode({ value: addItem(), headers: { ce_type: 'shop.AddItem' } }, [add], { ignored })).toMatchObject({
      method: add,
    });
  });

  it('is none where some type is ignored and the record says none: it may be of either', () => {
    const { code } = rejected(decode({ value: addItem() }, [add], { ignored: ['shop.RemoveItem'] }));

    expect(code).toBe('RECORD_UNKNOWN_TYPE');
  });

  it('is none, and the record is ignored, where every other type is', () => {
    const record = { value: addItem(), headers: { ce_type: 'shop.Item' } };

    expect(decode(record, [add], { ignored: ['google.protobuf.Any'] })).toEqual({ kind: 'ignore' });
  });
});

describe('the payload', () => {
  it("of protobuf is the record's own bytes, with the input type's url", () => {
    const value = addItem();

    const decoded = decode({ value }, [add]);

    expect(decoded).toMatchObject({ payload: { typeUrl: 'type.googleapis.com/shop.AddItem' } });
    expect(decoded.kind === 'command' && decoded.payload.value).toBe(value);
  });

  it.each(['application/protobuf', 'application/x-protobuf', 'application/grpc', 'application/octet-stream'])(
    'is protobuf with the content type %s',
    (contentType) => {
      const record = { value: addItem(), headers: { 'content-type': contentType } };

      expect(decode(record, [add])).toMatchObject({ kind: 'command', entityId: 'cart-1' });
    },
  );

  it('of JSON is the protobuf of the same message', () => {
    const json = '{"cartId":"cart-1","quantity":2}';
    const record = { value: Buffer.from(json), headers: { 'content-type': 'application/json; charset=utf-8' } };

    expect(decode(record, [add])).toMatchObject({
      entityId: 'cart-1',
      payload: { typeUrl: 'type.googleapis.com/shop.AddItem', value: new Uint8Array(addItem(json)) },
    });
  });

  it('is read as the subscription says, whatever the record says of itself', () => {
    const json = Buffer.from('{"cartId":"cart-1"}');

    expect(decode({ value: json }, [add], { format: 'json' })).toMatchObject({ entityId: 'cart-1' });
    expect(
      decode({ value: addItem(), headers: { 'content-type': 'application/json' } }, [add], { format: 'protobuf' }),
    ).toMatchObject({ entityId: 'cart-1' });
  });

  it('may be empty: that is a message of defaults', () => {
    expect(decode({ key: Buffer.from('k'), value: Buffer.alloc(0) }, [blind])).toMatchObject({ kind: 'command' });
  });

  it.each<[string, Partial<InputRecord>, string, RegExp]>([
    ['no value', { value: null }, 'RECORD_TOMBSTONE', /tombstone/],
    ['broken protobuf', { value: Buffer.from([0x0a, 0x05, 0x61]) }, 'RECORD_UNDECODABLE', /not a shop\.AddItem/],
    [
      'schema registry framing',
      { value: Buffer.from([0, 0, 0, 0, 1, 0, 0x0a, 0x01, 0x61]) },
      'RECORD_UNDECODABLE',
      /schema registry/,
    ],
    [
      'broken JSON',
      { value: Buffer.from('{'), headers: { 'content-type': 'application/json' } },
      'RECORD_UNDECODABLE',
      /JSON of a shop\.AddItem/,
    ],
    [
      'JSON that is not UTF-8',
      { value: Buffer.from([0x22, 0xff, 0x22]), headers: { 'content-type': 'application/json' } },
      'RECORD_UNDECODABLE',
      /not valid UTF-8/,
    ],
    [
      'a CloudEvent in structured mode',
      { value: Buffer.from('{}'), headers: { 'content-type': 'application/cloudevents+json' } },
      'RECORD_UNDECODABLE',
      /structured mode/,
    ],
    [
      'a content type that is neither',
      { value: Buffer.from('x'), headers: { 'content-type': 'text/plain' } },
      'RECORD_UNDECODABLE',
      /content type text\/plain/,
    ],
    ['too many bytes', { value: Buffer.alloc(DEFAULT_MAX_BYTES + 1) }, 'RECORD_OVERSIZE', /1048577 bytes.*1048576/],
  ])('is refused: %s', (_title, record, code, sentence) => {
    expect(rejected(decode(record, [add]))).toMatchObject({ code, message: expect.stringMatching(sentence) });
  });

  it('is refused with the method that it was for, once that is known', () => {
    expect(rejected(decode({ value: Buffer.from([0xff]) }, [add])).method).toBe('Add');
    expect(rejected(decode({ value: null }, [add])).method).toBe('Add');
    expect(rejected(decode({ value: null }, [add, remove])).method).toBeUndefined();
  });

  it("may be as large as the subscription's own limit and no larger", () => {
    const value = addItem();
    const limited = (maxBytes: number): Decoded => decode({ value }, [add], { maxBytes });

    expect(limited(value.length).kind).toBe('command');
    expect(rejected(limited(value.length - 1)).code).toBe('RECORD_OVERSIZE');
  });
});

describe('the payload of a method that takes Any', () => {
  const json = ANY_URLS.kalix.json;
  const primitive = ANY_URLS.kalix.primitive;

  it.each<[string, string | undefined, string | undefined, string]>([
    ['JSON, with its type', 'application/json', 'Cart', `${json}Cart`],
    ["JSON, with its type as the dialect's url", 'application/json', `${json}Cart`, `${json}Cart`],
    ['JSON without a type', 'application/json', undefined, `${json}object`],
    ['text', 'text/plain', 'note', `${primitive}string`],
    ['bytes', 'application/octet-stream', undefined, `${primitive}bytes`],
    ['bytes, where nothing is said', undefined, undefined, `${primitive}bytes`],
    ['bytes, where the type is not known', 'application/protobuf', 'no.Such', `${primitive}bytes`],
    ['bytes, where the content type is not known', 'image/png', undefined, `${primitive}bytes`],
  ])('is %s', (_title, contentType, ceType, typeUrl) => {
    const value = Buffer.from('"ä"');
    const headers = {
      ...(contentType === undefined ? {} : { 'content-type': contentType }),
      ...(ceType === undefined ? {} : { ce_type: ceType }),
    };

    expect(decode({ value, headers }, [onAny])).toMatchObject({
      kind: 'command',
      payload: { typeUrl, value: Buffer.from([0x0a, value.length, ...value]) },
    });
  });

  it('is protobuf of the type that the record says, checked', () => {
    const headers = { ce_type: 'shop.AddItem' };
    const value = addItem();

    expect(decode({ value, headers }, [onAny])).toMatchObject({
      payload: { typeUrl: 'type.googleapis.com/shop.AddItem', value },
    });
    expect(rejected(decode({ value: Buffer.from([0x0a]), headers }, [onAny])).code).toBe('RECORD_UNDECODABLE');
  });

  it.each([
    ['JSON that is none', 'application/json', Buffer.from('{')],
    ['text that is not UTF-8', 'text/plain', Buffer.from([0xff])],
    ['a CloudEvent in structured mode', 'application/cloudevents+json', Buffer.from('{}')],
  ])('is refused: %s', (_title, contentType, value) => {
    expect(rejected(decode({ value, headers: { 'content-type': contentType } }, [onAny])).code).toBe(
      'RECORD_UNDECODABLE',
    );
  });
});

describe('the entity id', () => {
  const key = Buffer.from('kéy-1');

  it.each<[Subscription['entityId'], Buffer | null, string]>([
    ['auto', key, 'kéy-1'],
    ['auto', null, 'cart-1'],
    ['auto', Buffer.alloc(0), 'cart-1'],
    ['key', key, 'kéy-1'],
    ['field', key, 'cart-1'],
  ])('by %s, with the key %s, is %s', (entityId, recordKey, id) => {
    const value = addItem();

    const decoded = decode({ key: recordKey, value }, [add], { entityId });

    expect(decoded).toMatchObject({ kind: 'command', entityId: id });
    expect(decoded.kind === 'command' && decoded.payload.value).toBe(value);
  });

  it('of a composite key is its parts joined', () => {
    const value = Buffer.from(jsonToPayload(shop.descriptors, 'shop.RemoveItem', '{"tenant":"acme","number":"12"}'));

    expect(decode({ value }, [remove])).toMatchObject({ entityId: 'acme-12' });
  });

  it("comes from the key though the payload's field is empty, and the payload stays as it is", () => {
    expect(decode({ key, value: addItem('{}') }, [add])).toMatchObject({
      entityId: 'kéy-1',
      payload: { value: Buffer.alloc(0) },
    });
  });

  it('of an action is empty, whatever the key is', () => {
    expect(decode({ key: Buffer.from([0xff]), value: addItem('{}') }, [onAdd])).toMatchObject({
      kind: 'command',
      entityId: '',
    });
  });

  it('of a method that takes Any is the key', () => {
    expect(decode({ key, value: Buffer.from('x') }, [whatever])).toMatchObject({ entityId: 'kéy-1' });
  });

  it.each<[string, Partial<InputRecord>, () => Method, Subscription['entityId'], RegExp]>([
    ['no key and an empty field', {}, () => add, 'auto', /no key.*\(cart_id\) of the shop\.AddItem is empty/],
    ['no key and no marked field', {}, () => blind, 'auto', /no key.*shop\.Keyless marks no entity key field/],
    ['no key, which alone counts', {}, () => add, 'key', /has no key/],
    ['an empty field, which alone counts', { key }, () => add, 'field', /\(cart_id\) of the shop\.AddItem is empty/],
    ['a key that is not UTF-8', { key: Buffer.from([0, 0, 0, 0xff]) }, () => add, 'auto', /4 bytes.*entityId: field/],
    ['a key with U+0000', { key: Buffer.from('a\0b') }, () => add, 'auto', /U\+0000/],
    ['a key that is too long', { key: Buffer.alloc(1025, 'a') }, () => add, 'key', /1025 bytes.*at most 1024/],
  ])('is refused: %s', (_title, record, method, entityId, sentence) => {
    const json = entityId === 'key' ? undefined : '{}';
    const value = method() === blind ? Buffer.alloc(0) : addItem(json);

    expect(rejected(decode({ value, ...record }, [method()], { entityId }))).toMatchObject({
      code: 'RECORD_NO_ENTITY_ID',
      message: expect.stringMatching(sentence),
    });
  });
});

describe('the metadata', () => {
  it("is the record's headers, without ours", () => {
    const headers = { ce_id: Buffer.from('7'), 'stateferry-origin': Buffer.from('x') };

    expect(decode({ value: addItem(), headers }, [add])).toMatchObject({
      metadata: [{ key: 'ce-id', value: '7' }],
      replyTo: [],
    });
  });
});

describe('createDecoder', () => {
  function create(...subscriptions: Pick<Subscription, 'topic' | 'methods'>[]) {
    return createDecoder({
      descriptors: shop.descriptors,
      anyUrls: ANY_URLS.kalix,
      subscriptions: subscriptions.map((subscription) => ({
        format: 'auto',
        entityId: 'auto',
        ignoreUnknown: false,
        ...subscription,
      })),
    });
  }

  it('decodes by the topic of the record', () => {
    const decoder = create({ topic: 'a', methods: [add] }, { topic: 'b', methods: [onAdd] });

    expect(decoder.decode(inputRecord({ topic: 'a', value: addItem() }))).toMatchObject({ method: add });
    expect(decoder.decode(inputRecord({ topic: 'b', value: addItem() }))).toMatchObject({ method: onAdd });
  });

  it.each<[string, () => unknown, RegExp]>([
    ['a topic twice', () => create({ topic: 'a', methods: [add] }, { topic: 'a', methods: [remove] }), /topic a/],
    ['no method', () => create({ topic: 'a', methods: [] }), /has no method/],
    [
      'one type for two methods',
      () => create({ topic: 'a', methods: [add, onAdd] }),
      /Cart\.Add and shop\.Watch\.OnAdd/,
    ],
    ['a record of another topic', () => create({ topic: 'a', methods: [add] }).decode(inputRecord()), /topic carts/],
  ])('refuses %s, as CONFIG_INVALID', (_title, attempt, sentence) => {
    expect(attempt).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringMatching(sentence) }),
    );
  });
});
