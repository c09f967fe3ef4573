import { describe, expect, it } from 'vitest';
import { encodeCommandRecord } from '../../src/codec/command-record.ts';
import { deadLetter } from '../../src/codec/dead-letter.ts';
import { isNudge, putBack } from '../../src/codec/put-back.ts';
import { asOutput, bodyPrint, identify, parentOf, rootOf, wholePrint } from '../../src/verify/identity.ts';
import { inputRecord } from '../support/records.ts';

const where = { topic: 'out', commandTopic: 'd-commands', answerTopic: 'd-answers', deployment: 'd' };
const onCommands = { ...where, topic: 'd-commands' };

function output(headers: Readonly<Record<string, string>>) {
  return { key: null, value: null, headers: Object.entries(headers) };
}

describe('a command id', () => {
  it('tells the record that it comes from', () => {
    expect(rootOf('a.b_c-1/12/345')).toEqual({ topic: 'a.b_c-1', partition: 12, offset: 345n, derived: false });
    expect(rootOf('t/0/1#2#3')).toMatchObject({ offset: 1n, derived: true });
    expect(rootOf('t/0/1#2@shop.Watch#3')).toMatchObject({ offset: 1n, derived: true });
  });

  it.each([
    '',
    't',
    't/1',
    't/1/x',
    't/1/2#',
    't/1/2#x',
    '/1/2',
    't#1/1/2',
    't/1/2/3',
    't/1/2@x',
    't/1/2#1@',
    't/1/2#1@a/b',
  ])('is not %j', (text) => {
    expect(rootOf(text)).toBeUndefined();
  });

  it('tells the command that derived it', () => {
    expect(parentOf('t/0/1#2#3')).toBe('t/0/1#2');
    expect(parentOf('t/0/1#2#3@shop.Watch')).toBe('t/0/1#2');
    expect(parentOf('t/0/1')).toBeUndefined();
  });
});

describe('an output is known by what it says of itself:', () => {
  const ours = { 'stateferry-origin': 't/1/2#1', ce_source: '/d/shop.Cart' };

  it.each([
    ['event-3', 'event'],
    ['state', 'state'],
    ['reply', 'reply'],
  ])('%s', (what, kind) => {
    expect(identify(output({ ...ours, ce_id: `t/1/2#1/${what}` }), where)).toMatchObject({
      kind,
      id: `t/1/2#1/${what}`,
      origin: 't/1/2#1',
      root: { topic: 't', partition: 1, offset: 2n, derived: true },
      service: 'shop.Cart',
    });
  });

  it.each([
    ['without a command', { ce_id: 't/1/2/reply', ce_source: '/d/s' }],
    ['with a command that is none', { ...ours, 'stateferry-origin': 'x', ce_id: 'x/reply' }],
    ['of another command', { ...ours, ce_id: 't/1/3/reply' }],
    ['of another deployment', { ...ours, ce_id: 't/1/2#1/reply', ce_source: '/e/s' }],
    ['of no kind', { ...ours, ce_id: 't/1/2#1/other' }],
  ])('not one %s', (_, headers) => {
    expect(identify(output(headers), where)).toBeUndefined();
  });

  it('a command by its id', () => {
    const record = encodeCommandRecord({
      id: 't/1/2#1',
      service: 's',
      method: 'm',
      entityId: 'e',
      payload: { typeUrl: 'u', value: new Uint8Array() },
      metadata: [],
      replyTo: [],
      key: Buffer.from('e'),
      topic: 'd-commands',
      partition: 0,
    });
    expect(identify(record, onCommands)).toMatchObject({ kind: 'command', id: 't/1/2#1', stood: undefined });
  });

  it('a dead letter by the place of the record, and by when it was given up', () => {
    const letter = (at: number) =>
      deadLetter({
        record: inputRecord({ headers: { 'stateferry-origin': Buffer.from('somebody/0/0') } }),
        topic: 'd-dead-letters',
        partition: 0,
        error: { code: 'RECORD_UNDECODABLE', message: 'm' },
        at,
      });
    const [one, other] = [identify(letter(1), where), identify(letter(2), where)];
    expect(one).toMatchObject({
      kind: 'dead letter',
      origin: 'carts/3/41',
      stood: { topic: 'carts', partition: 3, offset: 41n },
    });
    expect(one?.id).not.toBe(other?.id);
  });

  it('a command that was put back by the record that it is once more', () => {
    const record = putBack(inputRecord(), { topic: 'd-commands', partition: 1, commandId: 'carts/3/41' });
    expect(identify(record, onCommands)).toMatchObject({
      kind: 'put back',
      origin: 'carts/3/41',
      stood: { topic: 'carts', partition: 3, offset: 41n },
    });
  });

  it('a nudge by its header', () => {
    expect(isNudge(inputRecord({ value: null, headers: { 'stateferry-nudge': '1' } }))).toBe(true);
    expect(isNudge(inputRecord({ value: null }))).toBe(false);
  });
});

describe('a fingerprint', () => {
  const record = {
    key: Buffer.from('k'),
    value: Buffer.from('v'),
    headers: [
      ['a', '1'],
      ['b', Buffer.from('2')],
    ],
  } as const;

  it('is that of the same bytes, whether they were text or not, and in which order header names came', () => {
    const read = asOutput(
      inputRecord({ key: Buffer.from('k'), value: Buffer.from('v'), headers: { b: Buffer.from('2'), a: '1' } }),
    );
    expect(wholePrint(read, 1)).toEqual(wholePrint(record, 1));
    expect(bodyPrint(read)).toEqual(bodyPrint(record));
  });

  it.each([
    ['key', { ...record, key: Buffer.from('x') }],
    ['null key', { ...record, key: null }],
    ['value', { ...record, value: Buffer.from('x') }],
    ['null value', { ...record, value: null }],
    [
      'header',
      {
        ...record,
        headers: [
          ['a', '1'],
          ['b', '3'],
        ] as const,
      },
    ],
    [
      'header name',
      {
        ...record,
        headers: [
          ['a', '1'],
          ['c', '2'],
        ] as const,
      },
    ],
    ['header less', { ...record, headers: [['a', '1']] as const }],
    ['boundary', { ...record, key: Buffer.from('kv'), value: Buffer.alloc(0) }],
  ])('is another one with another %s', (_, other) => {
    expect(wholePrint(other, 1)).not.toEqual(wholePrint(record, 1));
  });

  it('is another one in another partition, or with repeated headers the other way round', () => {
    expect(wholePrint(record, 2)).not.toEqual(wholePrint(record, 1));
    const repeated = (one: string, two: string) =>
      wholePrint(
        {
          ...record,
          headers: [
            ['a', one],
            ['a', two],
          ],
        },
        1,
      );
    expect(repeated('1', '2')).not.toEqual(repeated('2', '1'));
  });
});
