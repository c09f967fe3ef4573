import protobuf from 'protobufjs';
import { describe, expect, it } from 'vitest';
import { type CommandToSend, decodeCommandRecord, encodeCommandRecord } from '../../src/codec/command-record.ts';
import type { Decoded } from '../../src/codec/decode.ts';
import type { Component, Method } from '../../src/model/component.ts';
import type { MetadataEntry } from '../../src/model/payload.ts';
import { packagePath } from '../../src/package-path.ts';
import { createRandom } from '../support/random.ts';
import { inputRecord } from '../support/records.ts';

const CONTRACT = protobuf
  .loadSync(packagePath('proto/stateferry/internal.proto'))
  .lookupType('stateferry.internal.CommandRecord');

function methodOf(kind: Component['kind']): Method {
  const component: Component = { kind, service: 'shop.Cart', entityType: 'carts', methods: new Map() };
  return {
    name: 'Add',
    component,
    inputType: 'shop.AddItem',
    outputType: 'shop.Done',
    clientStreaming: false,
    serverStreaming: false,
    entityKeyFields: [],
    eventing: {},
  };
}

const ENTITY = methodOf('value');
const ACTION = methodOf('action');

const COMMAND: CommandToSend = {
  id: 'carts/3/41#1',
  service: 'shop.Cart',
  method: 'Add',
  entityId: 'cart-1',
  payload: { typeUrl: 'type.googleapis.com/shop.AddItem', value: Buffer.from([1, 2, 3]) },
  metadata: [
    { key: 'Tag', value: 'ä' },
    { key: 'Tag', value: '' },
    { key: 'trace-bin', value: Buffer.from([0, 255]) },
  ],
  replyTo: ['answers', 'audit'],
  key: Buffer.from('cart-1'),
  topic: 'shop-commands',
  partition: 5,
};

/** A record with all that it must have. */
const RIGHT = [0x0a, 1, 0x61, 0x12, 1, 0x61, 0x1a, 1, 0x61, 0x22, 1, 0x61];

function decode(value: Uint8Array | null, method: Method | undefined = ENTITY): Decoded {
  return decodeCommandRecord(inputRecord({ value: value && Buffer.from(value) }), () => method);
}

function code(decoded: Decoded): string | undefined {
  return decoded.kind === 'reject' ? decoded.error.code : undefined;
}

describe('a command record', () => {
  it('carries a command there and back, with its own id', () => {
    const { value } = encodeCommandRecord(COMMAND);

    expect(decode(value)).toEqual({
      kind: 'command',
      id: COMMAND.id,
      method: ENTITY,
      entityId: COMMAND.entityId,
      payload: COMMAND.payload,
      metadata: COMMAND.metadata,
      replyTo: COMMAND.replyTo,
    });
  });

  it('carries any command there and back: 500 random ones', () => {
    const random = createRandom(3);
    for (let round = 0; round < 500; round += 1) {
      const command: CommandToSend = {
        ...COMMAND,
        id: `${random.text(20)}.`,
        entityId: `${random.text(30)}.`,
        payload: { typeUrl: random.text(40), value: random.bytes(random.int(300)) },
        metadata: Array.from({ length: random.int(4) }, (): MetadataEntry => {
          return {
            key: random.text(10),
            value: random.int(2) === 0 ? random.text(200) : random.bytes(random.int(200)),
          };
        }),
        replyTo: Array.from({ length: random.int(3) }, () => random.text(8)),
      };
      const { id, entityId, payload, metadata, replyTo } = command;

      expect(decode(encodeCommandRecord(command).value)).toEqual({
        kind: 'command',
        id,
        method: ENTITY,
        entityId,
        payload,
        metadata,
        replyTo,
      });
    }
  });

  it('is what proto/stateferry/internal.proto says', () => {
    const { value } = encodeCommandRecord(COMMAND);
    const said = {
      id: COMMAND.id,
      service: 'shop.Cart',
      method: 'Add',
      entityId: 'cart-1',
      typeUrl: COMMAND.payload.typeUrl,
      payload: COMMAND.payload.value,
      metadata: [
        { key: 'Tag', text: 'ä' },
        { key: 'Tag', text: '' },
        { key: 'trace-bin', data: Buffer.from([0, 255]) },
      ],
      replyTopics: ['answers', 'audit'],
    };

    expect(CONTRACT.toObject(CONTRACT.decode(value ?? Buffer.alloc(0)))).toEqual(said);
    expect(decode(CONTRACT.encode(said).finish())).toEqual(decode(value));
  });

  it('goes where it is told, under its key, with its id as origin', () => {
    expect(encodeCommandRecord(COMMAND)).toMatchObject({
      topic: 'shop-commands',
      partition: 5,
      key: Buffer.from('cart-1'),
      headers: [['stateferry-origin', 'carts/3/41#1']],
    });
    expect(encodeCommandRecord({ ...COMMAND, key: null }).key).toBeNull();
  });
});

describe('decodeCommandRecord', () => {
  it('finds the method by service and name', () => {
    const record = inputRecord({ value: Buffer.from(encodeCommandRecord(COMMAND).value ?? []) });

    const asked: string[] = [];
    decodeCommandRecord(record, (service, method) => {
      asked.push(`${service}/${method}`);
      return ENTITY;
    });

    expect(asked).toEqual(['shop.Cart/Add']);
  });

  it('passes over fields of a later version', () => {
    const value = Buffer.concat([
      encodeCommandRecord(COMMAND).value ?? Buffer.alloc(0),
      Buffer.from([0xfa, 0x07, 1, 1]),
    ]);

    expect(decode(value)).toMatchObject({ kind: 'command', id: COMMAND.id });
  });

  it('refuses a method that the function does not have, as CALL_UNKNOWN_TARGET that names it', () => {
    const record = inputRecord({ value: Buffer.from(encodeCommandRecord(COMMAND).value ?? []) });

    const decoded = decodeCommandRecord(record, () => undefined);

    expect(code(decoded)).toBe('CALL_UNKNOWN_TARGET');
    expect(decoded.kind === 'reject' && decoded.error.message).toContain('shop.Cart.Add');
  });

  it("refuses an entity's command without entity id or with an impossible one, not an action's", () => {
    const withId = (entityId: string): Uint8Array | null => encodeCommandRecord({ ...COMMAND, entityId }).value;

    expect(code(decode(withId('')))).toBe('RECORD_NO_ENTITY_ID');
    expect(code(decode(withId('a\0')))).toBe('RECORD_NO_ENTITY_ID');
    expect(code(decode(withId('x'.repeat(2000))))).toBe('RECORD_NO_ENTITY_ID');
    expect(decode(withId(''), ACTION)).toMatchObject({ kind: 'command', entityId: '' });
  });

  it('reads the least that a record must have', () => {
    expect(decode(Buffer.from(RIGHT))).toMatchObject({
      kind: 'command',
      id: 'a',
      entityId: 'a',
      metadata: [],
      replyTo: [],
    });
  });

  it('refuses a tombstone', () => {
    expect(code(decode(null))).toBe('RECORD_TOMBSTONE');
  });

  it.each([
    ['an empty value', []],
    ['a record that lacks its method', [0x0a, 1, 0x61, 0x12, 1, 0x61]],
    ['a length beyond the end', [0x0a, 9, 0x61]],
    ['an id that is not UTF-8', [0x0a, 1, 0xff, 0x12, 1, 0x61, 0x1a, 1, 0x61]],
    ['a metadata entry that goes past its end', [...RIGHT, 0x3a, 2, 0x0a, 3, 0x61, 0x62, 0x63]],
    ['a metadata entry beyond the end', [...RIGHT, 0x3a, 9, 0x0a, 1, 0x61]],
    ['wire type 7', [0x0f]],
    ['text', [...Buffer.from('{"id":"x"}')]],
  ])('refuses %s, as RECORD_UNDECODABLE', (_title, bytes) => {
    expect(code(decode(Buffer.from(bytes)))).toBe('RECORD_UNDECODABLE');
  });
});
