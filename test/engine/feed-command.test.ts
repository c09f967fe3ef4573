import { beforeAll, describe, expect, it } from 'vitest';
import { decodeCommandRecord } from '../../src/codec/command-record.ts';
import { feedCommand } from '../../src/engine/feed-command.ts';
import type { Change, Feed } from '../../src/model/feed.ts';
import { metadataValue } from '../../src/model/payload.ts';
import type { InputRecord, OutputRecord } from '../../src/model/record.ts';
import { partitionFor } from '../../src/topics/partition.ts';
import { rootOf } from '../../src/verify/identity.ts';
import { createShop, type Shop } from '../support/shop.ts';

let shop: Shop;
let feed: Feed;
beforeAll(() => {
  shop = createShop();
  feed = {
    name: 'a group/of #1',
    source: 'event-sourced',
    entityType: 'carts',
    methods: [shop.method(shop.watch, 'OnAdd')],
    ignored: [],
    ignoreUnknown: false,
  };
});

const context = { commandTopic: 'd-commands', shards: 8, messageBytes: () => 2_000 };
/** Protobuf field 1, a string. */
const addItem = (id: string) => Buffer.concat([Buffer.from([0x0a, id.length]), Buffer.from(id)]);
const event = (more: Partial<Change> = {}): Change => ({
  entityId: 'c1',
  number: 3,
  commandId: 'adds/3/17#2',
  typeUrl: 'type.googleapis.com/shop.AddItem',
  payload: addItem('c9'),
  ...more,
});
const DELETION: Change = { entityId: 'c1', number: 4, commandId: 'adds/3/18' };

function read(output: OutputRecord | undefined) {
  if (output === undefined) throw new Error('nothing was made of it');
  const record = { ...output, headers: {}, offset: 0n, timestamp: 0 } as unknown as InputRecord;
  return decodeCommandRecord(record, (service, method) =>
    [shop.cart, shop.watch].find((component) => component.service === service)?.methods.get(method),
  );
}

describe('what a feed makes of a change', () => {
  it('is a CloudEvent for the method that takes its type, in the partition of the entity', () => {
    const output = feedCommand(feed, event(), context);
    const command = read(output);

    expect(output).toMatchObject({ topic: 'd-commands', partition: partitionFor(Buffer.from('c1'), 8) });
    expect(output?.key?.toString()).toBe('c1');
    expect(command).toMatchObject({
      kind: 'command',
      method: { name: 'OnAdd' },
      entityId: '',
      payload: { typeUrl: 'type.googleapis.com/shop.AddItem', value: addItem('c9') },
    });
    expect(command.kind === 'command' && Object.fromEntries(command.metadata.map((e) => [e.key, e.value]))).toEqual({
      'ce-id': 'c1/3',
      'ce-source': 'carts',
      'ce-specversion': '1.0',
      'ce-type': 'shop.AddItem',
      'ce-subject': 'c1',
      'Content-Type': 'application/protobuf',
    });
  });

  it('has an id that says which record it goes back to, that no other event and no other feed has', () => {
    const idOf = (of: Feed, change: Change) =>
      read(feedCommand(of, change, context)).kind === 'command' &&
      (read(feedCommand(of, change, context)) as { id?: string }).id;
    const ids = [idOf(feed, event()), idOf(feed, event({ number: 4 })), idOf({ ...feed, name: 'other' }, event())];

    expect(new Set(ids).size).toBe(3);
    for (const id of ids) {
      expect(rootOf(id || '')).toMatchObject({ topic: 'adds', partition: 3, offset: 17n, derived: true });
    }
  });

  it('goes to the entity that the message names, where the subscriber is one', () => {
    const output = feedCommand({ ...feed, methods: [shop.method(shop.cart, 'Add')] }, event(), context);

    expect(output).toMatchObject({ partition: partitionFor(Buffer.from('c9'), 8) });
    expect(read(output)).toMatchObject({ kind: 'command', method: { name: 'Add' }, entityId: 'c9' });
  });

  it('is a dead letter where the message names no entity', () => {
    const nobody = event({ payload: new Uint8Array() });
    const output = feedCommand({ ...feed, methods: [shop.method(shop.cart, 'Add')] }, nobody, context);

    expect(read(output)).toMatchObject({ kind: 'reject', error: { code: 'RECORD_NO_ENTITY_ID' } });
  });

  it.each([
    ['json.kalix.io/shop.AddItem', 'shop.AddItem', 'application/json'],
    ['type.kalix.io/string', 'string', 'text/plain; charset=utf-8'],
    ['type.kalix.io/bytes', 'bytes', 'application/octet-stream'],
    ['type.googleapis.com/shop.Done', 'shop.Done', 'application/protobuf'],
  ])('of the type %s is for the method that takes Any, as it is', (typeUrl, type, contentType) => {
    const methods = [shop.method(shop.watch, 'OnAdd'), shop.method(shop.watch, 'OnAny')];
    const command = read(feedCommand({ ...feed, methods }, event({ typeUrl }), context));

    expect(command).toMatchObject({ method: { name: 'OnAny' }, payload: { typeUrl, value: addItem('c9') } });
    const metadata = command.kind === 'command' ? command.metadata : [];
    expect(metadataValue(metadata, 'ce-type')).toBe(type);
    expect(metadataValue(metadata, 'content-type')).toBe(contentType);
  });

  it('is nothing for types that are ignored, by name, by an ignored Any, or as unknown', () => {
    const other = event({ typeUrl: 'type.googleapis.com/shop.Item' });
    const any = [shop.method(shop.watch, 'OnAny')];

    expect(feedCommand({ ...feed, ignored: ['shop.Item'] }, other, context)).toBeUndefined();
    expect(feedCommand({ ...feed, ignored: ['shop.Item'], methods: any }, other, context)).toBeUndefined();
    expect(feedCommand({ ...feed, ignored: ['google.protobuf.Any'] }, other, context)).toBeUndefined();
    expect(feedCommand({ ...feed, ignoreUnknown: true }, other, context)).toBeUndefined();
  });

  it('is a dead letter for a type that no method takes, and says which event of which entity it is', () => {
    const output = feedCommand(feed, event({ typeUrl: 'type.googleapis.com/shop.Item' }), context);

    expect(output?.partition).toBe(partitionFor(Buffer.from('c1'), 8));
    expect(read(output)).toMatchObject({
      kind: 'reject',
      id: 'adds/3/17#2#3@a%20group%2Fof%20%231',
      error: {
        code: 'RECORD_UNKNOWN_TYPE',
        message: expect.stringMatching(/^Event 3 of carts "c1" is of type .*shop\.Item.*OnAdd takes shop\.AddItem/),
      },
    });
  });

  it('is a dead letter for an event that the command topic cannot hold', () => {
    const output = feedCommand(feed, event({ payload: new Uint8Array(2_000) }), context);

    expect(output?.value?.length).toBeLessThan(1_000);
    expect(read(output)).toMatchObject({
      kind: 'reject',
      error: { code: 'RECORD_OVERSIZE', message: expect.stringContaining('max.message.bytes') },
    });
  });

  it('is Empty for the method that takes deletions, and without one nothing', () => {
    const values: Feed = { ...feed, source: 'value', deletes: shop.method(shop.watch, 'OnAny') };
    const command = read(feedCommand(values, DELETION, context));

    expect(command).toMatchObject({
      method: { name: 'OnAny' },
      payload: { typeUrl: 'type.googleapis.com/google.protobuf.Empty' },
    });
    expect(feedCommand({ ...feed, source: 'value' }, DELETION, context)).toBeUndefined();
  });
});
