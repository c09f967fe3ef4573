import { Writer } from 'protobufjs/minimal.js';
import { describe, expect, it } from 'vitest';
import { MAX_ENTITY_ID_BYTES } from '../../src/codec/entity-id.ts';
import { entityIdFromPayload } from '../../src/codec/entity-key.ts';
import type { Component, KeyField, Method } from '../../src/model/component.ts';

const component: Component = { kind: 'value', service: 'shop.Cart', entityType: 'carts', methods: new Map() };

function methodWith(...entityKeyFields: KeyField[]): Method {
  return {
    name: 'Add',
    component,
    inputType: 'shop.AddItem',
    outputType: 'shop.Done',
    clientStreaming: false,
    serverStreaming: false,
    entityKeyFields,
    eventing: {},
  };
}

function key(number: number, scalar: KeyField['scalar']): KeyField {
  return { number, name: `key_${number}`, scalar };
}

function write(fill: (writer: Writer) => Writer): Uint8Array {
  return fill(Writer.create()).finish();
}

describe('entityIdFromPayload', () => {
  it.each<[string, KeyField['scalar'], (writer: Writer) => Writer, string]>([
    ['a string', 'string', (w) => w.uint32(0x0a).string('cart-1'), 'cart-1'],
    ['a string of any script', 'string', (w) => w.uint32(0x0a).string('Körbchen-漢😀'), 'Körbchen-漢😀'],
    ['a bool', 'bool', (w) => w.uint32(0x08).bool(true), 'true'],
    ['a small varint', 'varint', (w) => w.uint32(0x08).uint32(7), '7'],
    ['a negative int32', 'varint', (w) => w.uint32(0x08).int32(-5), '-5'],
    ['an int64 beyond 2^53', 'varint', (w) => w.uint32(0x08).int64('9007199254740993'), '9007199254740993'],
    ['the smallest int64', 'varint', (w) => w.uint32(0x08).int64('-9223372036854775808'), '-9223372036854775808'],
    ['the largest uint32', 'varint', (w) => w.uint32(0x08).uint32(0xffffffff), '4294967295'],
    ['the largest uint64, as the JVM has it', 'varint', (w) => w.uint32(0x08).uint64('18446744073709551615'), '-1'],
    ['a positive sint', 'sint', (w) => w.uint32(0x08).sint32(3), '3'],
    ['a negative sint', 'sint', (w) => w.uint32(0x08).sint64('-9007199254740993'), '-9007199254740993'],
    ['a fixed32', 'fixed32', (w) => w.uint32(0x0d).fixed32(0xfffffffe), '4294967294'],
    ['an sfixed32', 'sfixed32', (w) => w.uint32(0x0d).sfixed32(-2), '-2'],
    ['a fixed64', 'fixed64', (w) => w.uint32(0x09).fixed64('18446744073709551614'), '18446744073709551614'],
    ['an sfixed64', 'sfixed64', (w) => w.uint32(0x09).sfixed64('-9007199254740993'), '-9007199254740993'],
  ])('reads %s', (_title, scalar, fill, id) => {
    const bytes = write(fill);

    expect(entityIdFromPayload(methodWith(key(1, scalar)), bytes)).toBe(id);
    expect(entityIdFromPayload(methodWith(key(1, scalar)), Buffer.from(bytes))).toBe(id);
  });

  it.each<[KeyField['scalar'], string | undefined]>([
    ['string', undefined],
    ['bool', 'false'],
    ['varint', '0'],
    ['sint', '0'],
    ['fixed32', '0'],
    ['sfixed32', '0'],
    ['fixed64', '0'],
    ['sfixed64', '0'],
  ])('takes a missing %s as its default, %s', (scalar, id) => {
    expect(
      entityIdFromPayload(
        methodWith(key(4, scalar)),
        write((w) => w.uint32(0x0a).string('other')),
      ),
    ).toBe(id);
  });

  it('skips other fields of every wire type, groups too, wherever the key stands', () => {
    const bytes = write((w) =>
      w
        .uint32(0x10)
        .uint64('1234567890123')
        .uint32(0x19)
        .double(1.5)
        .uint32(0x22)
        .string('cart-9 inside')
        .uint32(0x2d)
        .float(2)
        .uint32(0x33)
        .uint32(0x0a)
        .string('not this one')
        .uint32(0x34)
        .uint32(0x0a)
        .string('cart-1'),
    );

    expect(entityIdFromPayload(methodWith(key(1, 'string')), bytes)).toBe('cart-1');
  });

  it('lets the last occurrence win, also an empty one', () => {
    const twice = write((w) => w.uint32(0x0a).string('first').uint32(0x0a).string('last'));
    const emptied = write((w) => w.uint32(0x0a).string('first').uint32(0x0a).string(''));

    expect(entityIdFromPayload(methodWith(key(1, 'string')), twice)).toBe('last');
    expect(entityIdFromPayload(methodWith(key(1, 'string')), emptied)).toBeUndefined();
  });

  it('joins the parts of a composite key by - in order of declaration, whatever their order in the bytes', () => {
    const method = methodWith(key(3, 'varint'), key(1, 'string'), key(2, 'bool'));

    expect(
      entityIdFromPayload(
        method,
        write((w) => w.uint32(0x0a).string('acme').uint32(0x18).uint32(12)),
      ),
    ).toBe('12-acme-false');
  });

  it('gives no id where a string part of a composite key is empty', () => {
    const method = methodWith(key(1, 'string'), key(3, 'varint'));

    expect(
      entityIdFromPayload(
        method,
        write((w) => w.uint32(0x18).uint32(12)),
      ),
    ).toBeUndefined();
  });

  it('gives no id where the method marks no field', () => {
    expect(entityIdFromPayload(methodWith(), Buffer.from([0xff]))).toBeUndefined();
  });

  it('reads a field number that fills the tag', () => {
    const bytes = Buffer.from([0xfa, 0xff, 0xff, 0xff, 0x0f, 0x01, 0x61]);

    expect(entityIdFromPayload(methodWith(key(2 ** 29 - 1, 'string')), bytes)).toBe('a');
  });

  it.each<[string, number[]]>([
    ['a length beyond the end', [0x0a, 0x05, 0x61]],
    ['a tag without a value', [0x0a]],
    ['an unfinished varint of another field', [0x10, 0xff]],
    ['a wire type that does not exist', [0x0f]],
    ['text that is not UTF-8', [0x0a, 0x02, 0xc3, 0x28]],
    ['a group without end', [0x33, 0x08, 0x01]],
    ['random bytes', [0xff, 0xff, 0xff, 0xff, 0xff, 0xff]],
  ])('refuses %s, as RECORD_UNDECODABLE', (_title, bytes) => {
    for (const method of [methodWith(key(1, 'string')), methodWith(key(1, 'string'), key(2, 'varint'))]) {
      expect(() => entityIdFromPayload(method, Buffer.from(bytes))).toThrow(
        expect.objectContaining({ code: 'RECORD_UNDECODABLE', message: expect.stringContaining('shop.AddItem') }),
      );
    }
  });

  it.each([
    ['is longer than the journal can index', `${'ä'.repeat(MAX_ENTITY_ID_BYTES / 2)}x`],
    ['has the character U+0000', 'cart\0'],
  ])('refuses an id that %s, as RECORD_NO_ENTITY_ID', (_title, id) => {
    expect(() =>
      entityIdFromPayload(
        methodWith(key(1, 'string')),
        write((w) => w.uint32(0x0a).string(id)),
      ),
    ).toThrow(expect.objectContaining({ code: 'RECORD_NO_ENTITY_ID' }));
  });

  it('takes an id of exactly the longest length', () => {
    const id = 'ä'.repeat(MAX_ENTITY_ID_BYTES / 2);

    expect(
      entityIdFromPayload(
        methodWith(key(1, 'string')),
        write((w) => w.uint32(0x0a).string(id)),
      ),
    ).toBe(id);
  });
});
