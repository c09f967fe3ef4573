import * as grpc from '@grpc/grpc-js';
import { expect, it } from 'vitest';
import { freePorts } from '../../src/local/ports.ts';
import { type Certified, createAuthority, filesOf } from '../support/certificates.ts';
import { compileProtos } from '../support/compile-protos.ts';
import { createDatabase } from '../support/postgres.ts';
import type { Plain } from '../support/raw-function.ts';
import { startScriptedFunction } from '../support/scripted-function.ts';
import { deploymentName, startRuntime } from '../support/start-runtime.ts';

const PROTO = compileProtos({
  'shop.proto': `
    syntax = "proto3";
    package shop;
    import "kalix/annotations.proto";
    message Item { string id = 1; }
    service Desk {
      rpc Ring(Item) returns (Item) { option (kalix.method).acl = { allow: { service: "mart" } }; }
      rpc Own(Item) returns (Item) { option (kalix.method).acl = { deny_code: 5 }; }
    }
  `,
});

it('two processes with TLS on all sides serve services by their certificates, and the function itself in clear text', async (t) => {
  const authority = createAuthority();
  const pair = authority.issue({ addresses: ['127.0.0.1'] });
  const mart = authority.issue({ dnsNames: ['mart.internal'] });
  const { paths } = await filesOf(t, {
    certificate: pair.certificate,
    key: pair.key,
    ca: authority.certificate,
    self: 'the-token-of-the-function-itself\n',
  });
  const fn = await startScriptedFunction(t, {
    descriptor: PROTO,
    components: [{ kind: 'action', service: 'shop.Desk' }],
    onAction: ({ name }) => ({ reply: { payload: fn.pack('shop.Item', { id: `${name} was called` }) } }),
    credentials: grpc.ServerCredentials.createSsl(
      Buffer.from(authority.certificate),
      [{ private_key: Buffer.from(pair.key), cert_chain: Buffer.from(pair.certificate) }],
      true,
    ),
  });
  const plainPorts = await freePorts(2);
  const shared = {
    'deployment.name': deploymentName(t),
    'postgres.url': await createDatabase(t),
    'function.url': fn.url,
    'function.tls': { caFile: paths.ca, certificateFile: paths.certificate, keyFile: paths.key },
    'doors.enabled': true,
    'doors.port': 0,
    'doors.services': [{ name: 'mart', certificateName: 'mart.internal' }],
    'doors.selfTokenFile': paths.self,
  };
  const runtimes = plainPorts.map((plainPort) =>
    startRuntime(t, {
      ...shared,
      'doors.tls': {
        certificateFile: paths.certificate,
        keyFile: paths.key,
        clientCaFile: paths.ca,
        clientCertificates: 'optional',
        plainPort,
      },
    }),
  );
  const doors = await Promise.all(runtimes.map((runtime) => runtime.doors()));

  for (const at of doors) {
    expect(await ring(at, authority.certificate, mart)).toBe('Ring was called');
    expect(await ring(at, authority.certificate)).toBe('PERMISSION_DENIED');
  }
  // What the function was told of each leads to it.
  const told = fn.runtimes.map(({ internal_proxy_hostname, proxy_port }) => `${internal_proxy_hostname}:${proxy_port}`);
  expect(new Set(told)).toEqual(new Set(plainPorts.map((port) => `127.0.0.1:${port}`)));
  const [first] = fn.runtimes as [Plain];
  const { self_identification_token: token } = first.identification_info as Plain;
  for (const at of told) {
    const call = (headers: Record<string, string>) =>
      fetch(`http://${at}/shop.Desk/Own`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
      });
    expect((await call({})).status).toBe(404);
    const own = await call({ authorization: String(token) });
    expect([own.status, await own.json()]).toEqual([200, { id: 'Own was called' }]);
  }
});

/** The id in the answer, or the status. */
function ring(at: string, ca: string, certified?: Certified): Promise<string> {
  const bytes = (pem: string | undefined) => (pem === undefined ? null : Buffer.from(pem));
  const credentials = grpc.credentials.createSsl(Buffer.from(ca), bytes(certified?.key), bytes(certified?.certificate));
  const client = new grpc.Client(at, credentials);
  const same = (value: Buffer): Buffer => value;
  return new Promise((resolve) => {
    client.makeUnaryRequest('/shop.Desk/Ring', same, same, Buffer.alloc(0), (error, answer) => {
      client.close();
      // After the tag and the length.
      resolve(error === null ? String(answer?.subarray(2)) : (grpc.status[error.code] as string));
    });
  });
}
