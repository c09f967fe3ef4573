import { fromBinary } from '@bufbuild/protobuf';
import { createDecoder, type Subscription } from '../../../src/codec/decode.ts';
import { createEncoder } from '../../../src/codec/encode.ts';
import { jsonToPayload, payloadToJson } from '../../../src/codec/json.ts';
import { typeNameOf } from '../../../src/model/payload.ts';
import type { InputRecord } from '../../../src/model/record.ts';
import { ANY_URLS } from '../../../src/protocol/any-urls.ts';
import { messageType } from '../../../src/protocol/descriptors.ts';
import { createShop } from '../../support/shop.ts';
import { Broken, Cursor, type FuzzTarget, joined, orRefused, same } from '../target.ts';
import { hasCode, isReject } from './refusals.ts';

/**
 * Records of subscribed topics, of every format. A record is a command or a reject, and nothing is thrown; what is taken
 * as a message is one to a protobuf library; what it is as JSON is the same message again; what is published of it is
 * read as the same.
 */
export function records(): FuzzTarget {
  const shop = createShop();
  const { descriptors } = shop;
  const [add, remove, whatever, onAdd, onAny] = (
    [
      [shop.cart, 'Add'],
      [shop.cart, 'Remove'],
      [shop.cart, 'Whatever'],
      [shop.watch, 'OnAdd'],
      [shop.watch, 'OnAny'],
    ] as const
  ).map(([component, name]) => shop.method(component, name)) as [never, never, never, never, never];
  const ways: readonly Pick<Subscription, 'methods' | 'format' | 'entityId'>[] = [
    { methods: [add], format: 'auto', entityId: 'auto' },
    { methods: [add, remove, whatever], format: 'auto', entityId: 'key' },
    { methods: [onAdd, onAny], format: 'auto', entityId: 'auto' },
    { methods: [onAny], format: 'auto', entityId: 'auto' },
    { methods: [add], format: 'json', entityId: 'field' },
    { methods: [remove, add], format: 'protobuf', entityId: 'field' },
    { methods: [add, onAny], format: 'cloudevents', entityId: 'auto' },
    { methods: [onAny], format: 'text', entityId: 'auto' },
    { methods: [onAny], format: 'bytes', entityId: 'auto' },
  ];
  const topics = ways.map((_, at) => `topic-${at}`);
  const decoder = createDecoder({
    descriptors,
    anyUrls: ANY_URLS.kalix,
    subscriptions: ways.map((way, at) => ({ ...way, topic: topics[at] as string, ignoreUnknown: at === 2 })),
  });
  const encode = createEncoder({ descriptors });

  const message = Buffer.from(
    jsonToPayload(
      descriptors,
      'shop.AddItem',
      JSON.stringify({
        cartId: 'c-1',
        quantity: 3,
        item: { name: 'tea', part: { name: 'leaf', shelf: 's' }, weight: 1.5 },
        sizes: [1, -2],
        labels: { a: { name: 'b' } },
        mood: 'EAGER',
        at: '2020-01-02T03:04:05Z',
        codes: [1, 2],
        blobs: { 7: 'AAEC' },
        far: 'x',
      }),
    ),
  );

  function record(input: Buffer): InputRecord {
    const cursor = new Cursor(input);
    const topic = cursor.pick(topics);
    const [key, type, contentType, extra] = [cursor.part(), cursor.part(), cursor.part(), cursor.part()];
    return {
      topic,
      partition: 0,
      offset: 7n,
      timestamp: 1,
      key: key.length === 0 ? null : key,
      value: cursor.rest(),
      headers: {
        ...(type.length > 0 && { ce_type: type }),
        ...(contentType.length > 0 && { 'content-type': contentType }),
        ...(extra.length > 0 && { [extra.toString('latin1')]: extra }),
      },
    };
  }

  return {
    seeds: [
      joined(0, ['key'], ['shop.AddItem'], [''], [''], message),
      joined(
        1,
        ['key'],
        ['type.googleapis.com/shop.RemoveItem'],
        ['application/protobuf'],
        ['ce_time'],
        '\x0a\x01a\x18\x05',
      ),
      joined(2, ['key'], ['shop.Item'], ['application/json'], ['x'], '{"a":[1,{"b":null}]}'),
      joined(3, [''], ['thing'], ['text/plain'], [''], 'some text'),
      joined(
        4,
        [''],
        [''],
        [''],
        [''],
        payloadToJson(descriptors, { typeUrl: 'type.googleapis.com/shop.AddItem', value: message }),
      ),
      joined(
        4,
        [''],
        [''],
        [''],
        [''],
        '{"cart_id":"a","extra":{"@type":"type.googleapis.com/shop.Item","name":"x"},"price":"NaN"}',
      ),
      joined(5, [''], ['shop.AddItem'], [''], [''], message),
      joined(
        3,
        [''],
        ['e'],
        ['application/cloudevents+json'],
        [''],
        '{"specversion":"1.0","id":"1","source":"/a","type":"shop.AddItem","data":{"cartId":"c"}}',
      ),
    ],
    words: [
      '"cartId"',
      '"quantity"',
      '"item"',
      '"labels"',
      '"extra"',
      '"@type"',
      '"type.googleapis.com/shop.AddItem"',
      '"price"',
      '"NaN"',
      '"-Infinity"',
      '1e400',
      '9007199254740993',
      '"\\ud800"',
      '"__proto__"',
      '{',
      '}',
      '[',
      ']',
      ':',
      ',',
      'null',
      'true',
      '-0',
      '1e-7',
      '"at"',
      '"2020-01-02T03:04:05.5Z"',
      '"blobs"',
      '"far"',
      '\x0a',
      '\x22',
      '\x2a',
      '\x42',
      '\x4a',
      '\x72',
      '\xe2\x12',
      '\x0b',
      '\x0c',
      'shop.AddItem',
      'shop.RemoveItem',
      'application/json',
      'application/cloudevents+json',
      'text/plain',
      'application/octet-stream',
      '\xef\xbb\xbf',
      '\xff',
      '\xc0\x80',
    ],
    run(input) {
      const given = record(input);
      const decoded = decoder.decode(given);
      if (decoded.kind !== 'command') return;
      const { payload, method } = decoded;
      const name = typeNameOf(payload.typeUrl);
      if (payload.typeUrl.startsWith('type.googleapis.com/')) {
        const type = messageType(descriptors, name);
        try {
          fromBinary(type, payload.value);
        } catch (error) {
          throw new Broken(`what was taken as ${name} is none: ${String(error)}`);
        }
        // Unknown fields and others that JSON has no place for are lost on the way there, so the way back is what holds.
        const json = orRefused(() => payloadToJson(descriptors, payload), hasCode('FUNCTION_BROKEN_REPLY'));
        if (json !== undefined) {
          // A double is written with all its digits up to 10^21, like an integer that its type could not keep.
          const once = orRefused(
            () => jsonToPayload(descriptors, name, json),
            (error) => isReject(error) && /\d{16}/.test(json),
          );
          if (once === undefined) return;
          const again = payloadToJson(descriptors, { typeUrl: payload.typeUrl, value: once });
          if (again !== json) throw new Broken(`the JSON ${json} comes back as ${again}`);
        }
      }
      for (const format of ['protobuf', 'json'] as const) {
        const output = orRefused(
          () =>
            encode({
              destination: { topic: given.topic, format, partitions: 4 },
              key: given.key,
              payload,
              metadata: decoded.metadata,
              ce: { id: 'a', source: '/b', subject: decoded.entityId },
              origin: 'o',
            }),
          isReject,
        );
        if (output === undefined || method.inputType === 'google.protobuf.Any' || format === 'json') continue;
        same(output.value as Uint8Array, payload.value, 'what is published of a message');
      }
    },
  };
}
