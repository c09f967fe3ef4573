import { readHttpRules } from '../../../src/doors/http/http-rules.ts';
import { openApiDocument } from '../../../src/doors/http/openapi.ts';
import { createRouter } from '../../../src/doors/http/router.ts';
import { planRoutes } from '../../../src/engine/routes.ts';
import { StateferryError } from '../../../src/errors.ts';
import type { FunctionClient } from '../../../src/functions/client.ts';
import { discover } from '../../../src/functions/discovery.ts';
import { descriptorSetOf, readDescriptors } from '../../../src/protocol/descriptors.ts';
import { allDialects } from '../../../src/protocol/dialects.ts';
import { loadWire } from '../../../src/protocol/wire.ts';
import { GOOGLE_API, LIBRARY } from '../../doors/http/protos.ts';
import { compileProtos } from '../../support/compile-protos.ts';
import { createShop } from '../../support/shop.ts';
import { Cursor, type FuzzTarget, joined, orRefused } from '../target.ts';
import { hasCode } from './refusals.ts';

const ANNOTATED = `
syntax = "proto3";
package a;
import "kalix/annotations.proto";
import "google/api/annotations.proto";
message In { string id = 1 [(kalix.field).entity_key = true]; string other = 2; }
message Out {}
service S {
  option (kalix.service).acl.allow = { principal: INTERNET };
  rpc One(In) returns (Out) {
    option (kalix.method).eventing.in = { topic: "in-\${NAME}" };
    option (kalix.method).eventing.out = { topic: "out" };
    option (google.api.http) = { post: "/v1/{id}/{other=a/**}:go" body: "*" additional_bindings { get: "/v1/{id}" } };
  }
  rpc Two(In) returns (Out) { option (kalix.method).eventing.in = { event_sourced_entity: "a.E" ignore_unknown: true }; }
}
service E { rpc Put(In) returns (Out); }
`;

/** Discovery's answer: it is a function with all that follows from it, or it is refused with a sentence. */
export function descriptors(): FuzzTarget {
  const dialects = allDialects();
  const isRefused = (error: unknown): boolean =>
    error instanceof StateferryError && ['FUNCTION_SPEC', 'FUNCTION_PROTOCOL'].includes(error.code);
  const spec = (proto: Uint8Array, services: readonly string[]): Uint8Array =>
    loadWire('kalix')
      .lookupType('kalix.protocol.Spec')
      .encode({
        proto,
        components: services.map((service_name, at) => ({
          component_type:
            at === 0 ? 'kalix.component.action.Actions' : 'kalix.component.eventsourcedentity.EventSourcedEntities',
          service_name,
        })),
        service_info: { protocol_major_version: 1, protocol_minor_version: 1, env: { NAME: 'x' } },
      })
      .finish();
  const annotated = compileProtos({ ...GOOGLE_API, 'a.proto': ANNOTATED });
  const library = compileProtos({ ...GOOGLE_API, 'library.proto': LIBRARY });
  const shop = descriptorSetOf(createShop().descriptors);
  return {
    seeds: [
      joined(0, spec(annotated, ['a.S', 'a.E'])),
      joined(0, spec(library, ['library.Library', 'library.Streams'])),
      joined(0, spec(shop, ['shop.Watch', 'shop.Cart'])),
      joined(1, annotated),
    ],
    words: [
      'google/protobuf/any.proto',
      'a.proto',
      '.a.In',
      '.google.protobuf.Any',
      'proto2',
      'proto3',
      'editions',
      '\x0a',
      '\x12',
      '\x1a',
      '\x22',
      '\x2a',
      '\x32',
      '\x3a',
      '\x42',
      '\x08\x01',
      '\x18\x01',
      '\x20\x03',
      '\x28\x0b',
      '\x50\x01',
      '\x24{NAME}',
      '{id}',
      '**',
      '*',
      ':',
      '\x82\xd3\xe4\x93\x02',
      '\xc2\x43',
      'kalix.component.valueentity.ValueEntities',
    ],
    maxBytes: 32_768,
    async run(input) {
      const cursor = new Cursor(input);
      if (cursor.byte() % 2 === 1) {
        const read = orRefused(() => readDescriptors(cursor.rest()), hasCode('FUNCTION_SPEC'));
        if (read !== undefined) readDescriptors(descriptorSetOf(read));
        return;
      }
      const answer = cursor.rest();
      const client = { unary: async () => answer } as unknown as FunctionClient;
      const proxy = { name: 'n', version: '1', hostname: 'h', port: 1, devMode: true };
      try {
        const { spec, ...found } = await discover({ client, dialects, proxy, timeoutMs: 1 });
        const { rules } = readHttpRules({ descriptors: found.descriptors, components: spec.components });
        createRouter(rules);
        JSON.stringify(openApiDocument(rules));
        planRoutes(spec, { subscriptions: [], replies: [], events: [], doors: true });
      } catch (error) {
        if (!isRefused(error)) throw error;
      }
    },
  };
}
