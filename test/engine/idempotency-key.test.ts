import { describe, expect, it } from 'vitest';
import { createIdempotencyKeys } from '../../src/engine/idempotency-key.ts';
import type { Command } from '../../src/model/command.ts';
import type { Method } from '../../src/model/component.ts';

const keyOf = createIdempotencyKeys([
  { topic: 'orders', header: 'ce-id' },
  { topic: 'deep/ly/named', header: 'idempotency-key' },
]);

const entity = { component: { kind: 'event-sourced', service: 's.Cart', entityType: 'carts' } } as unknown as Method;
const action = { component: { kind: 'action', service: 's.Desk', entityType: '' } } as unknown as Method;

function command(more: Partial<Command> = {}): Command {
  return {
    id: 'orders/3/17',
    method: entity,
    entityId: 'c1',
    key: Buffer.from('c1'),
    payload: { typeUrl: '', value: new Uint8Array() },
    metadata: [{ key: 'ce-id', value: 'e1' }],
    replyTo: [],
    ...more,
  };
}

describe('the idempotency key of a command', () => {
  it('is the same for the same entity and header value, wherever the record stands', () => {
    expect(keyOf(command())).toBeDefined();
    expect(keyOf(command({ id: 'orders/0/99' }))).toBe(keyOf(command()));
  });

  it.each<[string, Partial<Command>]>([
    ['another entity', { entityId: 'c2' }],
    ['another entity type', { method: { component: { kind: 'value', entityType: 'x' } } as unknown as Method }],
    ['another id', { metadata: [{ key: 'ce-id', value: 'e2' }] }],
    [
      'another source of the CloudEvent',
      {
        metadata: [
          { key: 'ce-id', value: 'e1' },
          { key: 'ce-source', value: '/x' },
        ],
      },
    ],
    ['an action', { method: action }],
  ])('is another one for %s', (_, more) => {
    expect(keyOf(command(more))).toBeDefined();
    expect(keyOf(command(more))).not.toBe(keyOf(command()));
  });

  it.each<[string, Partial<Command>]>([
    ['of a topic without keys', { id: 'others/3/17' }],
    ['without the header', { metadata: [] }],
    ['with an empty header', { metadata: [{ key: 'ce-id', value: '' }] }],
    ['that a function sent', { id: 'orders/3/17#1' }],
    ['of an action, without a record key', { method: action, key: null }],
  ])('does not exist for a command %s', (_, more) => {
    expect(keyOf(command(more))).toBeUndefined();
  });

  it('finds the topic of a record whose name has slashes', () => {
    const metadata = [{ key: 'Idempotency-Key', value: Buffer.from([1, 2]) }];
    expect(keyOf(command({ id: 'deep/ly/named/0/1', metadata }))).toBeDefined();
  });
});
