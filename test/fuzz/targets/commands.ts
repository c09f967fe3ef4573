import { decodeAnswer, encodeAnswer } from '../../../src/codec/answer-record.ts';
import { encodeCommandRecord, readCommandFields } from '../../../src/codec/command-record.ts';
import { putBack, readPutBack } from '../../../src/codec/put-back.ts';
import type { InputRecord, OutputRecord } from '../../../src/model/record.ts';
import { Broken, Cursor, type FuzzTarget, joined, orRefused, same } from '../target.ts';
import { hasCode } from './refusals.ts';

const CALLER = { partition: 3, correlation: Buffer.alloc(16, 7), doneOnly: false, awaits: 2 } as const;

/**
 * Records of the deployment's own topics, which another producer may have written to: they are what they say, written
 * again and read again they are the same, or they are RECORD_UNDECODABLE.
 */
export function commands(): FuzzTarget {
  const command = encodeCommandRecord({
    id: 'a/1/2#1',
    service: 'shop.Cart',
    method: 'Add',
    entityId: 'c',
    payload: { typeUrl: 'type.googleapis.com/shop.AddItem', value: Buffer.from('\x0a\x01c') },
    metadata: [
      { key: 'a', value: 'b' },
      { key: 'c', value: Buffer.from([0xff]) },
    ],
    replyTo: ['out'],
    caller: CALLER,
    key: Buffer.from('c'),
    topic: 't',
    partition: 0,
  });
  const answer = encodeAnswer({
    topic: 't',
    caller: CALLER,
    awaits: 1,
    commandId: 'a/1/2',
    outcome: {
      kind: 'reply',
      payload: { typeUrl: 'u', value: Buffer.from('x') },
      metadata: [{ key: 'k', value: 'v' }],
    },
  });
  const failure = encodeAnswer({
    topic: 't',
    caller: CALLER,
    awaits: 0,
    commandId: 'a',
    outcome: { kind: 'failure', code: 5, message: 'no' },
  });
  return {
    seeds: [
      joined(0, command.value as Uint8Array),
      joined(1, answer.value as Uint8Array),
      joined(1, failure.value as Uint8Array),
      joined(2, ['topic/1/2/3'], ['4/5'], ['origin'], 'value'),
    ],
    words: [
      '\x0a',
      '\x12',
      '\x1a',
      '\x22',
      '\x2a',
      '\x32',
      '\x3a',
      '\x42',
      '\x4a',
      '\x50',
      '\x5a',
      '/',
      '-1',
      '9'.repeat(30),
    ],
    run(input) {
      const cursor = new Cursor(input);
      switch (cursor.byte() % 3) {
        case 0: {
          const fields = orRefused(() => readCommandFields(cursor.rest()), hasCode('RECORD_UNDECODABLE'));
          if (fields === undefined) return;
          const { typeUrl, payload, fault, ...others } = fields;
          const write = (): OutputRecord =>
            encodeCommandRecord({
              ...others,
              payload: { typeUrl, value: payload },
              ...(fault !== '' && { fault }),
              key: null,
              topic: 't',
              partition: 0,
            });
          const once = write().value as Buffer;
          const again = readCommandFields(Buffer.from(once));
          if (JSON.stringify(again) !== JSON.stringify({ ...fields, typeUrl: again.typeUrl })) {
            throw new Broken(`${JSON.stringify(fields)} comes back as ${JSON.stringify(again)}`);
          }
          return;
        }
        case 1: {
          const read = (value: Buffer) => decodeAnswer({ key: Buffer.alloc(16), value });
          const found = orRefused(() => read(cursor.rest()), hasCode('RECORD_UNDECODABLE'));
          if (found === undefined) return;
          const { awaits, outcome, item, more } = found;
          const once = encodeAnswer({
            topic: 't',
            caller: { ...CALLER, awaits: 0 },
            awaits,
            outcome,
            commandId: 'a',
            item,
            more,
          });
          if (JSON.stringify(read(Buffer.from(once.value as Uint8Array)).outcome) !== JSON.stringify(outcome)) {
            throw new Broken(`${JSON.stringify(outcome)} comes back as another answer`);
          }
          return;
        }
        default: {
          const [what, place, origin] = [cursor.part(), cursor.part(), cursor.part()];
          const record: InputRecord = {
            topic: 't',
            partition: 0,
            offset: 1n,
            timestamp: 1,
            key: null,
            value: cursor.rest(),
            headers: {
              'stateferry-put-back': what,
              ...(place.length > 0 && { 'stateferry-place': place }),
              'stateferry-origin': [origin, origin],
            },
          };
          const back = readPutBack(record);
          if (back === undefined) return;
          const { headers } = putBack(back.record, { topic: 't', partition: 0, commandId: 'x' });
          const named: Record<string, Buffer[]> = {};
          for (const [name, value] of headers) named[name] = [...(named[name] ?? []), Buffer.from(value as string)];
          const again = readPutBack({ ...record, headers: named });
          if (
            again === undefined ||
            again.record.offset !== back.record.offset ||
            again.record.topic !== back.record.topic
          ) {
            throw new Broken(`${what} is put back as another record`);
          }
          same(again.record.value as Buffer, back.record.value as Buffer, 'what is put back');
        }
      }
    },
  };
}
