import { beforeAll, describe, expect, it } from 'vitest';
import { asProtobuf, wrapBytes, wrapJson, wrapString } from '../../src/codec/any.ts';
import { encodeReplicatedDelta } from '../../src/codec/replicated-record.ts';
import { createPayloadReader, type PayloadReader } from '../../src/inspect/payloads.ts';
import { ANY_URLS } from '../../src/protocol/any-urls.ts';
import { compileProtos } from '../support/compile-protos.ts';

let reader: PayloadReader;

beforeAll(() => {
  const version = (digest: string, text: string) => ({
    digest,
    descriptors: Buffer.from(compileProtos({ 'shop.proto': `syntax = "proto3"; package shop; ${text}` })),
  });
  reader = createPayloadReader([
    version('newest', 'message Added { int64 count = 1; } message Newest { string text = 1; }'),
    version('middle', 'message Added { int64 amount = 1; } message Gone { string text = 1; }'),
    { digest: 'damaged', descriptors: Buffer.from([0xff]) },
    version('oldest', 'message Added { int64 sum = 1; } message Gone { string words = 1; }'),
  ]);
});

const ADDED = asProtobuf('shop.Added', Buffer.from([0x08, 0x05]));
const FLAG = encodeReplicatedDelta({ kind: 'flag', isOn: true });
const GONE = asProtobuf('shop.Gone', Buffer.from([0x0a, 0x01, 0x78]));

describe('a payload is read', () => {
  it('by the version that wrote it', () => {
    expect(reader.read(ADDED, 'oldest')).toBe('{"sum":"5"}');
    expect(reader.read(ADDED, 'middle')).toBe('{"amount":"5"}');
  });

  it('by the newest one that knows the type, where the writer is not known, cannot be read, or lacks it', () => {
    expect(reader.read(ADDED)).toBe('{"count":"5"}');
    expect(reader.read(ADDED, 'damaged')).toBe('{"count":"5"}');
    expect(reader.read(GONE, 'newest')).toBe('{"text":"x"}');
    expect(reader.read(GONE, null)).toBe('{"text":"x"}');
  });

  it.each(Object.entries(ANY_URLS))('as JSON or a primitive of %s', (_, urls) => {
    const text = (value: string) => Buffer.from(value);
    expect(reader.read(wrapJson(urls, 'shop.Any', text('{ "n": 12345678901234567890 }')))).toBe(
      '{"n":12345678901234567890}',
    );
    expect(reader.read(wrapString(urls, text('a "b"')))).toBe('"a \\"b\\""');
    expect(reader.read(wrapBytes(urls, Buffer.from([0xff])))).toBe('"/w=="');
    expect(reader.read({ typeUrl: `${urls.primitive}int64`, value: Buffer.from([0x08, 0x07]) })).toBe('7');
    expect(reader.read({ typeUrl: `${urls.primitive}bool`, value: Buffer.from([0x08, 0x01]) })).toBe('true');
  });

  it('as the change of a replicated entity, with the elements in it', () => {
    const value = wrapString(ANY_URLS.kalix, Buffer.from('x'));
    const unknown = asProtobuf('shop.Nothing', Buffer.from([1]));
    expect(
      reader.read(encodeReplicatedDelta({ kind: 'set', cleared: true, removed: [], added: [value, ADDED, unknown] })),
    ).toBe(
      '{"set":{"cleared":true,"added":["x",{"count":"5"},{"type":"type.googleapis.com/shop.Nothing","base64":"AQ=="}]}}',
    );
    const delta = { kind: 'register', value, clock: 'custom', clockValue: 4 } as const;
    expect(
      reader.read(
        encodeReplicatedDelta({
          kind: 'map',
          cleared: false,
          removed: [],
          updated: [{ key: value, delta: { kind: 'counter', change: -2 } }],
          added: [{ key: value, delta }],
        }),
      ),
    ).toBe(
      '{"map":{"updated":[{"key":"x","delta":{"counter":{"change":-2}}}],' +
        '"added":[{"key":"x","delta":{"register":{"value":"x","clock":"custom","clockValue":4}}}]}}',
    );
  });
});

it.each([
  ['a type that no version has', asProtobuf('shop.Nothing', Buffer.from([1]))],
  ['bytes that are not of their type', asProtobuf('shop.Added', Buffer.from([0x08]))],
  ['JSON that is none', wrapJson(ANY_URLS.kalix, 'x', Buffer.from('{'))],
  ['a primitive that there is not', { typeUrl: `${ANY_URLS.kalix.primitive}colour`, value: Buffer.from([1]) }],
  ['text that is not UTF-8', wrapString(ANY_URLS.kalix, Buffer.from([0xff]))],
  ['a change of a replicated entity that is none', { ...FLAG, value: Buffer.from([0x0a]) }],
  ['an empty type url', { typeUrl: '', value: Buffer.from([1]) }],
])('%s cannot be read, and that is no error', (_, payload) => {
  expect(reader.read(payload)).toBeUndefined();
});
