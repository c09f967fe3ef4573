import { decodeInputOrder, encodeInputOrder } from '../../../src/codec/input-order.ts';
import { decodeInputs, encodeInputs } from '../../../src/codec/inputs.ts';
import { decodeOutbox, encodeOutbox } from '../../../src/codec/outbox.ts';
import { decodeReplicatedDelta, encodeReplicatedDelta } from '../../../src/codec/replicated-record.ts';
import type { OutputRecord } from '../../../src/model/record.ts';
import { Cursor, type FuzzTarget, joined, orRefused, same } from '../target.ts';
import { hasCode } from './refusals.ts';

const OUTPUTS: readonly OutputRecord[] = [
  {
    topic: 'a',
    partition: 1,
    key: Buffer.from('k'),
    value: Buffer.from('v'),
    headers: [
      ['h', 'x'],
      ['i', Buffer.from([1])],
    ],
  },
  { topic: 'b', partition: 0, key: null, value: null, headers: [['h', 'y']] },
];
const TOPICS = ['a', 'b', 'c'];

/** Rows of the journal, which may be damaged: they are read, and written again they are what was read; or the journal is unreadable. */
export function journal(): FuzzTarget {
  const isUnreadable = hasCode('JOURNAL_UNREADABLE', 'ENTITY_UNREADABLE');
  const inputs = OUTPUTS.map(({ headers: _, ...output }, at) => ({
    ...output,
    key: output.key as Buffer | null,
    value: output.value as Buffer | null,
    offset: BigInt(at) + 2n ** 40n,
    timestamp: -at,
    headers: { h: [Buffer.from('x'), Buffer.from('y')] },
  }));
  const delta = encodeReplicatedDelta({
    kind: 'map',
    cleared: false,
    removed: [{ typeUrl: 'u', value: Buffer.from('r') }],
    updated: [{ key: { typeUrl: 'u', value: Buffer.from('k') }, delta: { kind: 'counter', change: -5 } }],
    added: [{ key: { typeUrl: 'u', value: Buffer.from('a') }, delta: { kind: 'vote', selfVote: true } }],
  });
  return {
    seeds: [
      joined(0, encodeOutbox(OUTPUTS)),
      joined(1, encodeInputs(inputs)),
      joined(2, encodeInputOrder(TOPICS, [{ topic: 'a' }, { topic: 'b' }, { topic: 'b' }]) ?? ''),
      joined(3, delta.value),
    ],
    words: ['\x0a', '\x12', '\x1a', '\x22', '\x2a', '\x08\x00', '\x10\x01', '\x32', '\x3a\x00'],
    run(input) {
      const cursor = new Cursor(input);
      const kind = cursor.byte() % 4;
      const bytes = cursor.rest();
      if (kind === 0) {
        const read = orRefused(() => decodeOutbox(bytes), isUnreadable);
        if (read === undefined) return;
        const once = encodeOutbox(read);
        same(encodeOutbox(decodeOutbox(once)), once, 'an outbox');
      } else if (kind === 1) {
        const read = orRefused(() => decodeInputs(bytes), isUnreadable);
        if (read === undefined) return;
        const once = encodeInputs(read);
        same(encodeInputs(decodeInputs(once)), once, 'inputs');
      } else if (kind === 2) {
        orRefused(() => decodeInputOrder(TOPICS, bytes), isUnreadable);
      } else {
        const read = orRefused(() => decodeReplicatedDelta({ ...delta, value: bytes }), isUnreadable);
        if (read === undefined) return;
        const once = encodeReplicatedDelta(read);
        same(encodeReplicatedDelta(decodeReplicatedDelta(once)).value, once.value, 'a delta');
      }
    },
  };
}
