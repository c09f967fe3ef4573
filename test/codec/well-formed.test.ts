import { fromBinary, fromJson, type JsonValue, toBinary } from '@bufbuild/protobuf';
import { beforeAll, describe, expect, it } from 'vitest';
import { createWellFormed } from '../../src/codec/well-formed.ts';
import { messageType } from '../../src/protocol/descriptors.ts';
import { createRandom, type Random } from '../support/random.ts';
import { createShop, type Shop } from '../support/shop.ts';

let shop: Shop;
let check: (typeName: string, bytes: Uint8Array) => void;
beforeAll(() => {
  shop = createShop();
  const wellFormed = createWellFormed();
  check = (typeName, bytes) => wellFormed(messageType(shop.descriptors, typeName))(bytes);
});

function item(random: Random, depth: number): JsonValue {
  return {
    name: random.text(60),
    weight: random.int(1000) / 8,
    ...(depth > 0 && random.int(2) === 0 ? { part: item(random, depth - 1) } : {}),
    ...(random.int(2) === 0 ? { shelf: random.text(5) } : { supplier: String(random.int(2 ** 31)) }),
  };
}

function addItem(random: Random): Uint8Array {
  const many = <T>(make: () => T): T[] => Array.from({ length: random.int(4) }, make);
  const type = messageType(shop.descriptors, 'shop.AddItem');
  const json: JsonValue = {
    cartId: random.text(20),
    product: random.text(80),
    quantity: random.int(2 ** 20) - 2 ** 19,
    item: item(random, 3),
    sizes: many(() => String(random.int(2 ** 31) - 2 ** 30)),
    labels: Object.fromEntries(many(() => [random.text(5), item(random, 1)])),
    mood: random.pick(['CALM', 'EAGER', 17]),
    extra: { '@type': 'type.googleapis.com/shop.Keyless', text: random.text(3) },
    at: '2026-01-02T03:04:05.678Z',
    notes: many(() => random.text(50)),
    serial: String(random.int(2 ** 31)),
    price: random.int(1000) / 7,
    picture: random.bytes(random.int(30)).toString('base64'),
    codes: many(() => random.int(2 ** 31)),
    blobs: Object.fromEntries(many(() => [String(random.int(100)), random.bytes(3).toString('base64')])),
    far: random.text(4),
  };
  return toBinary(type, fromJson(type, json, { registry: shop.descriptors.registry }));
}

describe('createWellFormed', () => {
  it('accepts what a protobuf library writes: 500 random messages', () => {
    const random = createRandom(11);
    for (let round = 0; round < 500; round += 1) check('shop.AddItem', addItem(random));
  });

  it('accepts nothing that a protobuf library cannot read: 20,000 messages with bytes changed, cut out or cut off', () => {
    const random = createRandom(12);
    const type = messageType(shop.descriptors, 'shop.AddItem');
    let refused = 0;
    for (let round = 0; round < 20_000; round += 1) {
      const bytes = Buffer.from(addItem(random)).subarray(0, random.pick([undefined, random.int(200)]));
      for (let change = random.int(3); change > 0 && bytes.length > 0; change -= 1) {
        bytes[random.int(bytes.length)] = random.int(256);
      }
      try {
        check('shop.AddItem', bytes);
      } catch (error) {
        expect(error).toHaveProperty('code', 'RECORD_UNDECODABLE');
        refused += 1;
        continue;
      }
      expect(() => fromBinary(type, bytes), bytes.toString('hex')).not.toThrow();
    }
    expect(refused).toBeGreaterThan(2_000);
    expect(refused).toBeLessThan(18_000);
  });

  it.each<[string, string, number[]]>([
    ['no bytes at all', 'shop.AddItem', []],
    [
      'an unknown field of each wire type',
      'shop.Done',
      [0x08, 0x01, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x1a, 1, 0xff, 0x25, 1, 2, 3, 4],
    ],
    ['an unknown group, with groups in it', 'shop.Done', [0x0b, 0x13, 0x18, 0x01, 0x14, 0x0c]],
    ['packed elements one by one', 'shop.AddItem', [0x28, 0x01, 0x28, 0x02]],
    ['packed elements together', 'shop.AddItem', [0x2a, 0x02, 0x01, 0x02]],
    ['packed fixed32 one by one', 'shop.AddItem', [0x75, 1, 2, 3, 4]],
    ['a varint of ten bytes', 'shop.AddItem', [0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]],
    ['an enum value that the schema does not have', 'shop.AddItem', [0x38, 0x63]],
    ['a length and a tag that are longer than they need be', 'shop.AddItem', [0x8a, 0x00, 0x81, 0x00, 0x61]],
    ['the highest field number', 'shop.Done', [0xf8, 0xff, 0xff, 0xff, 0x0f, 0x00]],
    ['both members of a oneof', 'shop.Item', [0x22, 0x01, 0x61, 0x28, 0x01]],
    ['a proto2 group', 'old.Strict', [0x0a, 0x00, 0x13, 0x08, 0x01, 0x14]],
    ['a proto2 string that is not UTF-8', 'old.Strict', [0x0a, 0x00, 0x1a, 0x01, 0xff]],
    ['an unpacked proto2 list that comes packed', 'old.Strict', [0x0a, 0x00, 0x22, 0x02, 0x01, 0x02]],
    ['a map entry without key and value', 'shop.AddItem', [0x32, 0x00]],
  ])('accepts %s', (_title, typeName, bytes) => {
    expect(() => check(typeName, Buffer.from(bytes))).not.toThrow();
  });

  it.each<[string, string, number[], RegExp]>([
    ['field number 0', 'shop.AddItem', [0x00, 0x01], /field number 0.*schema registry/],
    ['a field number of more than 29 bits', 'shop.Done', [0xf8, 0xff, 0xff, 0xff, 0x1f, 0x00], /byte 0 is not one/],
    ['a tag of six bytes', 'shop.Done', [0x88, 0x80, 0x80, 0x80, 0x80, 0x00], /longer than 5 bytes/],
    ['wire type 6', 'shop.AddItem', [0x86, 0x01], /wire type 6, which does not exist/],
    ['wire type 7 on a known field', 'shop.AddItem', [0x0f], /\(cart_id\).*wire type 7, where 2 is right/],
    ['a string as varint', 'shop.AddItem', [0x08, 0x01], /\(cart_id\).*wire type 0, where 2 is right/],
    ['an int32 as string', 'shop.AddItem', [0x1a, 0x01, 0x61], /\(quantity\).*wire type 2, where 0 is right/],
    ['a message as fixed32', 'shop.AddItem', [0x25, 1, 2, 3, 4], /\(item\).*wire type 5, where 2 is right/],
    ['a message as group', 'shop.AddItem', [0x23, 0x24], /\(item\).*wire type 3, where 2 is right/],
    ['a sparse field of the wrong type', 'shop.AddItem', [0xe0, 0x12, 0x01], /\(far\).*wire type 0, where 2 is right/],
    ['a tag alone', 'shop.AddItem', [0x0a], /end inside the varint at byte 1/],
    ['half a tag', 'shop.AddItem', [0x8a], /end inside the varint at byte 0/],
    ['half a varint', 'shop.AddItem', [0x18, 0x80], /end inside the varint at byte 1/],
    ['a varint without a byte', 'shop.AddItem', [0x18], /end inside the varint at byte 1/],
    ['a varint of eleven bytes', 'shop.AddItem', [0x18, ...Array(10).fill(0x80), 0x01], /longer than 10 bytes/],
    ['a varint of more than 64 bits', 'shop.AddItem', [0x18, ...Array(9).fill(0xff), 0x02], /more than 64 bits/],
    ['half a fixed64', 'shop.AddItem', [0x59, 1, 2, 3], /field 11 at byte 0 is longer than what is left/],
    ['half a fixed32', 'shop.Item', [0x1d, 1, 2, 3], /field 3 at byte 0 is longer than what is left/],
    [
      'a string longer than the rest',
      'shop.AddItem',
      [0x0a, 0x05, 0x61],
      /field 1 at byte 0 is longer than what is left/,
    ],
    ['a huge length', 'shop.AddItem', [0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x61], /longer than what is left/],
    ['an unknown field longer than the rest', 'shop.Done', [0x0a, 0x05], /longer than what is left/],
    [
      'a short string that is not UTF-8',
      'shop.AddItem',
      [0x0a, 0x02, 0xc3, 0x28],
      /\(cart_id\) at byte 2 is not valid UTF-8/,
    ],
    ['a long string that is not UTF-8', 'shop.AddItem', [0x0a, 0x40, ...Array(63).fill(0x61), 0xff], /not valid UTF-8/],
    ['a surrogate half in UTF-8', 'shop.AddItem', [0x0a, 0x03, 0xed, 0xa0, 0x80], /not valid UTF-8/],
    ['a list of strings with one that is not UTF-8', 'shop.AddItem', [0x52, 0x01, 0x61, 0x52, 0x01, 0xff], /\(notes\)/],
    ['bad UTF-8 in a sub-message', 'shop.AddItem', [0x22, 0x03, 0x0a, 0x01, 0xff], /\(name\) at byte 4/],
    ['bad UTF-8 in a map key', 'shop.AddItem', [0x32, 0x03, 0x0a, 0x01, 0xff], /\(key\) at byte 4/],
    ['a map value of the wrong type', 'shop.AddItem', [0x7a, 0x02, 0x10, 0x01], /\(value\) of an entry of blobs/],
    [
      'a sub-message whose field goes past its end',
      'shop.AddItem',
      [0x22, 0x02, 0x0a, 0x01, 0x61],
      /longer than what is left/,
    ],
    ['a sub-message whose varint goes past its end', 'shop.AddItem', [0x22, 0x01, 0x28, 0x01], /end inside the varint/],
    ['a packed varint that is cut off', 'shop.AddItem', [0x2a, 0x01, 0x80, 0x01], /end inside the varint/],
    [
      'packed fixed32 of six bytes',
      'shop.AddItem',
      [0x72, 0x06, 1, 2, 3, 4, 5, 6],
      /6 bytes, which is no multiple of 4/,
    ],
    ['an end group without start', 'shop.AddItem', [0x24], /wire type 4, where 2 is right/],
    ['an unknown end group without start', 'shop.Done', [0x24], /ends nothing/],
    ['a group with the end of another', 'shop.Done', [0x0b, 0x14], /ends nothing/],
    ['a group without end', 'shop.Done', [0x0b, 0x10, 0x01], /has no end/],
    ['a known group without end', 'old.Strict', [0x0a, 0x00, 0x13], /has no end/],
    [
      'a required field that is missing',
      'old.Strict',
      [0x1a, 0x00],
      /required field 1 \(id\) of old\.Strict is missing/,
    ],
  ])('refuses %s, as RECORD_UNDECODABLE that says where', (_title, typeName, bytes, sentence) => {
    expect(() => check(typeName, Buffer.from(bytes))).toThrow(
      expect.objectContaining({ code: 'RECORD_UNDECODABLE', message: expect.stringMatching(sentence) }),
    );
  });

  it('accepts messages that nest 100 deep and refuses 101, in fields and in unknown groups', () => {
    const nested = (depth: number): Buffer => {
      let bytes = Buffer.alloc(0);
      for (let level = 0; level < depth; level += 1) {
        const length = bytes.length < 0x80 ? [bytes.length] : [(bytes.length & 0x7f) | 0x80, bytes.length >> 7];
        bytes = Buffer.concat([Buffer.from([0x12, ...length]), bytes]);
      }
      return bytes;
    };
    const groups = (depth: number): Buffer => Buffer.concat([Buffer.alloc(depth, 0x7b), Buffer.alloc(depth, 0x7c)]);

    for (const make of [nested, groups]) {
      expect(() => check('shop.Item', make(100))).not.toThrow();
      expect(() => check('shop.Item', make(101))).toThrow(/nest deeper than 100/);
    }
  });

  it('refuses a bomb of open groups without using up the stack', () => {
    expect(() => check('shop.Item', Buffer.alloc(1_000_000, 0x7b))).toThrow(/nest deeper than 100/);
  });
});
