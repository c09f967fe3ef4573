import { once } from 'node:events';
import net from 'node:net';
import { afterEach, expect, it, vi } from 'vitest';
import { socketsFor } from '../../src/topics/sockets.ts';

afterEach(() => {
  vi.useRealTimers();
});

/** A connection that has had data, its other end, and how often it was told to be lost. */
async function connected(hasData: boolean) {
  const server = net.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  let lost = 0;
  const accepted = once(server, 'connection') as Promise<[net.Socket]>;
  const socket = socketsFor(undefined, { sasl: true, onLost: () => lost++ })({
    host: '127.0.0.1',
    port,
    onConnect: () => undefined,
  } as never);
  const [other] = await accepted;
  server.close();
  if (hasData) {
    other.write('x');
    await once(socket, 'data');
  }
  const closed = new Promise((resolve) => socket.on('close', resolve));
  return { socket, other, closed, lost: () => lost };
}

it('tells of a connection that is closed while it is in use', async () => {
  const { socket, other, closed, lost } = await connected(true);
  socket.on('end', () => socket.end());
  socket.on('error', () => undefined);
  other.resetAndDestroy();
  await closed;
  expect(lost()).toBe(1);
});

it('is silent about one that was never used', async () => {
  const { other, closed, lost } = await connected(false);
  other.end();
  await closed;
  expect(lost()).toBe(0);
});

it('is silent about one that nobody has used for half a minute, as brokers close them', async () => {
  const { socket, other, closed, lost } = await connected(true);
  vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 30_000);
  socket.resume();
  other.end();
  await closed;
  expect(lost()).toBe(0);
  vi.restoreAllMocks();
});
