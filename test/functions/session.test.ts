import { once } from 'node:events';
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import { expect, it, onTestFinished } from 'vitest';
import { createFunctionClient } from '../../src/functions/client.ts';
import { openEntitySession } from '../../src/functions/session.ts';
import { allDialects } from '../../src/protocol/dialects.ts';

type Call = ServerDuplexStream<Buffer, Buffer>;

const bytes = (value: Buffer) => value;

it('cancels a stream that the function does not end when the runtime has', async () => {
  const dialect = allDialects().find(({ name }) => name === 'cloudstate-first');
  if (dialect === undefined) throw new Error('there is no such dialect');
  const server = new Server();
  const { path } = dialect.replicated;
  const handle = { path, requestStream: true, responseStream: true, requestSerialize: bytes, responseSerialize: bytes };
  const called = new Promise<Call>((resolve) => {
    server.addService(
      { handle: { ...handle, requestDeserialize: bytes, responseDeserialize: bytes } },
      { handle: (call: Call) => resolve(call.resume()) },
    );
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  const client = createFunctionClient(new URL(`http://127.0.0.1:${port}`));
  onTestFinished(() => {
    client.close();
    server.forceShutdown();
  });
  const session = openEntitySession({
    client,
    dialect,
    component: { kind: 'replicated', service: 'shop.Likes', entityType: 'likes', methods: new Map() },
    init: { service: 'shop.Likes', entityId: 'e' },
    onEnd: () => undefined,
  });
  const call = await called;

  session.close();

  await once(call, 'end');
  expect(call.cancelled).toBe(false);
  await once(call, 'cancelled');
});
