import { createEncoder } from '../../../src/codec/encode.ts';
import { decodeOutbox, encodeOutbox } from '../../../src/codec/outbox.ts';
import { type DecisionContext, decide } from '../../../src/engine/decide.ts';
import { createRoutes, planRoutes } from '../../../src/engine/routes.ts';
import type { Component, FunctionSpec } from '../../../src/model/component.ts';
import type { Effect } from '../../../src/model/effect.ts';
import { allDialects } from '../../../src/protocol/dialects.ts';
import { createShop } from '../../support/shop.ts';
import { Cursor, type FuzzTarget, joined, orRefused, type Part, same } from '../target.ts';
import { isReject } from './refusals.ts';

/** What a function says: whatever its bytes, they are not its protocol, or an effect, which is decided or rejected. */
export function replies(): FuzzTarget {
  const shop = createShop();
  const components = new Map<string, Component>([shop.cart, shop.watch].map((c) => [c.service, c]));
  const spec: FunctionSpec = {
    dialect: 'kalix',
    protocolVersion: '1.1',
    serviceName: '',
    supportLibrary: '',
    components,
    digest: '',
  };
  const plan = planRoutes(spec, {
    subscriptions: [],
    replies: [
      { service: 'shop.Cart', method: 'Add', topic: 'added', format: 'json' },
      { service: 'shop.Watch', method: 'OnAdd', topic: 'seen', format: 'auto' },
    ],
    events: [{ entityType: 'shop.Cart', topic: 'events', format: 'auto' }],
    doors: true,
  });
  const context: DecisionContext = {
    encode: createEncoder({ descriptors: shop.descriptors }),
    routes: createRoutes(spec, plan, new Map()),
    deployment: 'd',
    commandTopic: 'd-commands',
    answerTopic: 'd-answers',
    shards: 8,
    ignoreSnapshots: false,
    maxOutputBytes: 1_000,
    messageBytes: () => 100_000,
  };
  const methods = [shop.method(shop.cart, 'Add'), shop.method(shop.watch, 'OnAdd')] as const;
  const readers = allDialects().flatMap(
    ({ eventSourced, value, replicated, action }): ((bytes: Buffer) => Effect | undefined)[] => [
      ...[eventSourced, value, replicated].flatMap((protocol) =>
        protocol === undefined
          ? []
          : [
              (bytes: Buffer) => {
                const out = protocol.decodeOut(bytes);
                return out.kind === 'reply' || out.kind === 'cancelled' ? out.effect : undefined;
              },
            ],
      ),
      (bytes) => action.decodeResponse(bytes),
    ],
  );

  const field = (tag: number, ...parts: readonly Part[]): Buffer => joined(tag, [joined(...parts)]);
  const any = joined('\x0a', ['type.googleapis.com/shop.Item'], '\x12', ['\x0a\x01x']);
  const metadata = field(0x0a, '\x0a', ['key'], '\x12', ['value']);
  const action = field(0x0a, field(0x0a, any), field(0x12, metadata));
  const reply = field(0x0a, '\x08\x01', field(0x12, action), field(0x22, any), field(0x2a, any));
  const forward = field(
    0x0a,
    '\x08\x01',
    field(0x12, field(0x12, '\x0a', ['shop.Cart'], '\x12', ['Add'], field(0x1a, any))),
  );
  return {
    seeds: readers.flatMap((_, at) => [joined(at, reply), joined(at, forward), joined(at, field(0x12, action))]),
    words: [
      '\x08',
      '\x0a',
      '\x10',
      '\x12',
      '\x1a',
      '\x22',
      '\x2a',
      '\x32',
      'type.googleapis.com/shop.Item',
      'json.kalix.io/',
      'type.kalix.io/string',
      'p.cloudstate.io/int64',
      'shop.Cart',
      'Add',
      'ce-type',
      '_kalix-http-code',
      '\x00',
      '\xff',
    ],
    run(input) {
      const cursor = new Cursor(input);
      const read = cursor.pick(readers);
      const bytes = cursor.rest();
      let effect: Effect | undefined;
      try {
        effect = read(bytes);
      } catch {
        // Whatever it is, it is FUNCTION_BROKEN_REPLY to the session, and ends the entity's stream.
        return;
      }
      if (effect === undefined) return;
      for (const method of methods) {
        const command = {
          id: 'adds/3/17',
          method,
          entityId: 'c1',
          key: Buffer.from('c1'),
          payload: { typeUrl: 'type.googleapis.com/shop.AddItem', value: Buffer.alloc(0) },
          metadata: [],
          replyTo: [],
          caller: { partition: 1, correlation: Buffer.alloc(16), doneOnly: false, awaits: 0 },
        };
        const decision = orRefused(() => decide(command, effect, { seq: 4, revision: 2 }, context), isReject);
        if (decision === undefined) continue;
        const outbox = encodeOutbox(decision.outputs);
        same(encodeOutbox(decodeOutbox(outbox)), outbox, 'the outputs of a reply');
      }
    },
  };
}
