import { status } from '@grpc/grpc-js';
import { expect, it } from 'vitest';
import type { FunctionClient } from '../../../src/functions/client.ts';
import { discover } from '../../../src/functions/discovery.ts';
import { GrpcError } from '../../../src/functions/grpc-error.ts';
import { allDialects } from '../../../src/protocol/dialects.ts';
import { loadWire } from '../../../src/protocol/wire.ts';
import { compileProtos } from '../../support/compile-protos.ts';

const wire = loadWire('kalix');
const proto = compileProtos({
  'app.proto': `
    syntax = "proto3";
    package app;
    import "kalix/annotations.proto";
    message Item { string id = 1; }
    service Api {
      option (kalix.service).acl = { allow: { principal: INTERNET } };
      rpc Plain(Item) returns (Item);
      rpc Signed(Item) returns (Item) { option (kalix.method).jwt = { sign: MESSAGE }; }
    }
  `,
});

/** Discovers a function of dialect Kalix, and gives what it was told besides. */
async function discovered(selfIdentification?: { readonly header: string; readonly value: string }) {
  let told: unknown;
  const client = {
    async unary(path: string, request: Uint8Array) {
      if (path !== '/kalix.protocol.Discovery/Discover') {
        throw new GrpcError(status.UNIMPLEMENTED, 'no such method');
      }
      told = wire.lookupType('kalix.protocol.ProxyInfo').decode(request).toJSON();
      const component = { component_type: 'kalix.component.action.Actions', service_name: 'app.Api' };
      const service_info = { protocol_major_version: 1, protocol_minor_version: 1 };
      const spec = { proto, components: [component], service_info };
      return Buffer.from(wire.lookupType('kalix.protocol.Spec').encode(spec).finish());
    },
  } as unknown as FunctionClient;
  const proxy = {
    name: 'test',
    version: '1',
    hostname: 'h',
    port: 9,
    devMode: false,
    ...(selfIdentification && { selfIdentification }),
  };
  return { found: await discover({ client, dialects: allDialects(), proxy, timeoutMs: 1 }), told };
}

it('discovery finds who may call each method, and tells which calls will be refused for what is not served', async () => {
  const { found } = await discovered();
  const methods = found.spec.components.get('app.Api')?.methods;
  const acl = { allow: [{ kind: 'internet' }], deny: [], denyCode: 7 };
  expect([...(methods?.values() ?? [])].map((method) => found.access.get(method))).toEqual([
    { acl },
    { acl, unserved: 'wants tokens signed' },
  ]);
  expect(found.unserved).toEqual([
    'app.Api.Signed wants tokens signed, which this version of Stateferry does not do: the doors refuse its calls',
  ]);
});

it('discovery tells the function what its own calls are known by, and nothing where there is nothing to tell', async () => {
  const identified = await discovered({ header: 'authorization', value: 'Bearer abc' });
  expect(identified.told).toMatchObject({
    identification_info: {
      self_identification_header: 'authorization',
      self_identification_token: 'Bearer abc',
    },
  });
  expect((await discovered()).told).not.toHaveProperty('identification_info');
});
