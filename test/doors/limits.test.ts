import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import { gzipSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { annotated } from './access/annotated.ts';
import { openDoors } from './open-doors.ts';

const api = annotated({ body: 'rpc Bare(Item) returns (Item);' });
const BARE = '/app.Api/Bare';

it('gRPC: a message that comes to more than the limit when it is decompressed is refused', async (t) => {
  const { at, through } = await openDoors(t, { api });
  const session = http2.connect(`http://${at}`);
  t.onTestFinished(async () => session.destroy());
  const bomb = gzipSync(Buffer.alloc(256 * 1024 * 1024));
  const frame = Buffer.alloc(5);
  frame.writeUInt8(1);
  frame.writeUInt32BE(bomb.length, 1);
  const before = process.memoryUsage().rss;
  const stream = session.request({
    ':method': 'POST',
    ':path': BARE,
    'content-type': 'application/grpc',
    'grpc-encoding': 'gzip',
    te: 'trailers',
  });
  stream.end(Buffer.concat([frame, bomb]));
  stream.resume();
  let status: unknown;
  stream.on('response', (headers) => {
    status ??= headers['grpc-status'];
  });
  stream.on('trailers', (trailers) => {
    status ??= trailers['grpc-status'];
  });
  await once(stream, 'close');
  // RESOURCE_EXHAUSTED
  expect(String(status)).toBe('8');
  expect(through).toEqual([]);
  expect(process.memoryUsage().rss - before).toBeLessThan(128 * 1024 * 1024);
});

it('HTTP/1.1: a head that is too large is refused', async (t) => {
  const { at, through } = await openDoors(t, { api });
  const request = http.request(`http://${at}${BARE}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-large': 'a'.repeat(32 * 1024) },
  });
  request.on('error', () => undefined);
  request.end('{}');
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  expect(response.statusCode).toBe(431);
  expect(through).toEqual([]);
});

it('HTTP/2: a head of too many fields is refused', async (t) => {
  const { at, through } = await openDoors(t, { api });
  const session = http2.connect(`http://${at}`);
  session.on('error', () => undefined);
  t.onTestFinished(async () => session.destroy());
  const many = Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`x-${n}`, '1']));
  const stream = session.request({ ':method': 'POST', ':path': BARE, 'content-type': 'application/json', ...many });
  let answered = false;
  stream.on('response', ({ ':status': status }) => {
    answered = status === 200;
  });
  stream.on('error', () => undefined);
  stream.end('{}');
  stream.resume();
  await once(stream, 'close').catch(() => undefined);
  expect(answered).toBe(false);
  expect(through).toEqual([]);
});
