import { describe, expect, it } from 'vitest';
import { encodeAnswer } from '../../src/codec/answer-record.ts';
import { asProtobuf } from '../../src/codec/any.ts';
import { encodeCommandRecord } from '../../src/codec/command-record.ts';
import { deadLetter } from '../../src/codec/dead-letter.ts';
import { putBack } from '../../src/codec/put-back.ts';
import { createPayloadReader } from '../../src/inspect/payloads.ts';
import { explainRecord, traceIdOf } from '../../src/inspect/records.ts';
import type { OutputRecord } from '../../src/model/record.ts';
import { compileProtos } from '../support/compile-protos.ts';
import { inputRecord } from '../support/records.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = `00-${TRACE}-00f067aa0ba902b7-01`;
const history = {
  deployment: 'd',
  topics: { commands: 'd-commands', answers: 'd-answers' },
  payloads: createPayloadReader([
    {
      digest: 'v',
      descriptors: Buffer.from(
        compileProtos({ 'shop.proto': 'syntax = "proto3"; package shop; message Added { int32 n = 1; }' }),
      ),
    },
  ]),
};
const explain = (record: OutputRecord) => explainRecord(history, record, 'v');
const ADDED = asProtobuf('shop.Added', Buffer.from([0x08, 0x05]));

describe('a record is explained', () => {
  it('that is a reply, by the type that its headers name', () => {
    const about = explain({
      topic: 'replies',
      partition: 2,
      key: Buffer.from('cart-1'),
      value: ADDED.value,
      headers: [
        ['ce_id', 'orders/3/41/reply'],
        ['ce_type', 'shop.Added'],
        ['ce_source', '/d/shop.CartService'],
        ['content-type', 'application/protobuf'],
        ['traceparent', PARENT],
        ['stateferry-origin', 'orders/3/41'],
      ],
    });
    expect(about).toMatchObject({
      kind: 'reply',
      command: 'orders/3/41',
      key: 'cart-1',
      service: 'shop.CartService',
      traceId: TRACE,
      content: { type: 'shop.Added', json: '{"n":5}' },
    });
  });

  it('that is a command, with its target and the trace that its metadata name', () => {
    const record = encodeCommandRecord({
      id: 'orders/3/41#1',
      service: 'shop.CartService',
      method: 'Add',
      entityId: 'cart-2',
      payload: ADDED,
      metadata: [{ key: 'Traceparent', value: PARENT }],
      replyTo: [],
      key: Buffer.from('cart-2'),
      topic: 'd-commands',
      partition: 1,
    });
    expect(explain(record)).toMatchObject({
      kind: 'command',
      command: 'orders/3/41#1',
      target: { service: 'shop.CartService', method: 'Add', entityId: 'cart-2' },
      traceId: TRACE,
      content: { json: '{"n":5}' },
    });
  });

  it('that is a dead letter, with why it is one', () => {
    const record = inputRecord({
      topic: 'orders',
      value: Buffer.from('{"n": 1}'),
      headers: { 'content-type': 'application/json' },
    });
    const letter = deadLetter({
      record,
      topic: 'd-dead-letters',
      partition: 0,
      error: { code: 'FUNCTION_FAILED', message: 'no stock' },
      service: 'shop.CartService',
      at: 0,
    });
    expect(explain(letter)).toMatchObject({
      kind: 'dead letter',
      command: 'orders/3/41',
      failure: 'FUNCTION_FAILED: no stock',
      content: { json: '{"n":1}' },
    });
  });

  it('that was put back, as the command that it was', () => {
    const record = inputRecord({
      topic: 'orders',
      value: Buffer.from('text'),
      headers: { 'content-type': 'text/plain' },
    });
    expect(explain(putBack(record, { topic: 'd-commands', partition: 3, commandId: 'orders/3/41' }))).toMatchObject({
      kind: 'put back',
      command: 'orders/3/41',
      content: { json: '"text"' },
    });
  });

  it('that answers a caller at a door, with what it says or why it fails', () => {
    const caller = { partition: 0, correlation: Buffer.alloc(16, 1), doneOnly: false, awaits: 0 };
    const answer = (outcome: Parameters<typeof encodeAnswer>[0]['outcome']) =>
      explain(encodeAnswer({ topic: 'd-answers', caller, awaits: 0, outcome, commandId: 'd-commands/0/7' }));
    expect(answer({ kind: 'reply', payload: ADDED, metadata: [] })).toMatchObject({
      kind: 'answer',
      command: 'd-commands/0/7',
      content: { json: '{"n":5}' },
    });
    expect(answer({ kind: 'failure', code: 5, message: 'no such cart' })).toMatchObject({
      failure: 'gRPC status 5: no such cart',
      content: undefined,
    });
  });

  it('that is nobody’s and cannot be read, as its bytes', () => {
    const value = Buffer.from([0xff, 0x00]);
    const about = explain({ topic: 'd-commands', partition: 0, key: value, value, headers: [] });
    expect(about).toMatchObject({ kind: 'record', command: undefined, key: '0xff00', content: { json: undefined } });
    expect(about.content?.bytes).toEqual(value);
  });
});

describe('a trace id', () => {
  it('is the one of a W3C traceparent, of any version that begins like the first', () => {
    expect(traceIdOf(PARENT)).toBe(TRACE);
    expect(traceIdOf(`cc-${TRACE}-00f067aa0ba902b7-01-more`)).toBe(TRACE);
  });

  it.each([undefined, '', 'x', TRACE, `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`, `00-${TRACE.toUpperCase()}-1-01`])(
    'is none in %j',
    (text) => {
      expect(traceIdOf(text)).toBeUndefined();
    },
  );
});
