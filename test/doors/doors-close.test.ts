import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { expect, it } from 'vitest';
import { limitCalls } from '../../src/doors/limited-calls.ts';
import { createListener } from '../../src/doors/listener.ts';

async function listen(answer: http.RequestListener) {
  const server = http.createServer(answer);
  const listener = createListener({
    maxConnections: 10,
    silentMs: 10_000,
    http1: (socket) => server.emit('connection', socket),
    http2: (socket) => void socket.destroy(),
  });
  const { port } = await listener.listen('127.0.0.1', 0);
  return { listener, port };
}

it('a client that keeps its connection does not hold up the end, and gets all of its last answer', async () => {
  const body = 'x'.repeat(3_000_000);
  const { listener, port } = await listen((_request, response) => void response.end(body));
  const agent = new http.Agent({ keepAlive: true });
  const [response] = (await once(http.get({ port, host: '127.0.0.1', agent }), 'response')) as [http.IncomingMessage];
  const closed = listener.close();
  listener.endHttp1();
  let read = 0;
  for await (const chunk of response) read += (chunk as Buffer).length;
  expect(read).toBe(body.length);
  await closed;
  agent.destroy();
});

it('a connection that has said nothing does not hold up the end', async () => {
  const { listener, port } = await listen((_request, response) => void response.end());
  const silent = net.connect(port, '127.0.0.1');
  await once(silent, 'connect');
  const gone = once(silent, 'close');
  await listener.close();
  await gone;
});

it('calls that are under way are waited for, no longer than asked', async () => {
  let finish: (() => void) | undefined;
  const calls = limitCalls(
    {
      unary: () =>
        new Promise((resolve) => {
          finish = () => resolve({ payload: { typeUrl: '', value: new Uint8Array() }, metadata: [] });
        }),
      async *streamed() {},
    },
    2,
  );
  await calls.settled(1_000_000);
  const call = calls.unary({} as Parameters<typeof calls.unary>[0], () => new Uint8Array());
  await calls.settled(1);
  const settled = calls.settled(1_000_000);
  finish?.();
  await settled;
  await call;
});

it('a call more than may be under way is refused with RESOURCE_EXHAUSTED, and a later one is not', async () => {
  const done: (() => void)[] = [];
  const calls = limitCalls(
    {
      unary: () =>
        new Promise((resolve) => {
          done.push(() => resolve({ payload: { typeUrl: '', value: new Uint8Array() }, metadata: [] }));
        }),
      async *streamed() {},
    },
    1,
  );
  const call = () => calls.unary({} as Parameters<typeof calls.unary>[0], () => new Uint8Array());
  const first = call();
  await expect(call()).rejects.toMatchObject({ code: 8 });
  done[0]?.();
  await first;
  const later = call();
  done[1]?.();
  await later;
});
