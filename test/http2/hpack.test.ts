import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { expect, it } from 'vitest';
import { FLAG, FRAME, HEAD_BYTES, PREFACE, settingsFrame } from '../../src/http2/frames.ts';
import { createHeaderDecoder, encodeHeaders, type Header } from '../../src/http2/hpack.ts';

/** The header blocks that nghttp2, by way of Node.js, makes of these requests on one connection. */
async function blocksOf(requests: readonly Record<string, string>[]): Promise<Buffer[]> {
  let received = Buffer.alloc(0);
  const blocks: Buffer[] = [];
  const server = net.createServer((socket) => {
    socket.write(settingsFrame([]));
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      for (let at = PREFACE.length; at + HEAD_BYTES <= received.length; ) {
        const length = received.readUIntBE(at, 3);
        if (at + HEAD_BYTES + length > received.length) return;
        if (received[at + 3] === FRAME.headers && (received[at + 4] ?? 0) & FLAG.endStream) {
          const id = received.readUInt32BE(at + 5);
          blocks[(id - 1) / 2] = received.subarray(at + HEAD_BYTES, at + HEAD_BYTES + length);
        }
        at += HEAD_BYTES + length;
      }
      if (blocks.filter(Boolean).length === requests.length) server.emit('all');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = http2.connect(`http://127.0.0.1:${(server.address() as net.AddressInfo).port}`);
  client.on('error', () => undefined);
  const all = once(server, 'all');
  for (const headers of requests) client.request({ ':path': '/', ...headers }).on('error', () => undefined);
  await all;
  client.destroy();
  server.close();
  return blocks;
}

it('decodes what another implementation encoded, with Huffman codes and its dynamic table', async () => {
  const printable = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i)).join('');
  const high = Array.from({ length: 128 }, (_, i) => String.fromCharCode(128 + i)).join('');
  const requests = [
    { 'x-text': `a${printable}a`, 'grpc-status': '0' },
    { 'x-text': `a${printable}a`, 'grpc-status': '0' },
    { 'x-high': high.repeat(2), 'grpc-message': 'The%20counter%20is%20full' },
    ...Array.from({ length: 50 }, (_, i) => ({ [`x-${i}`]: 'aeiou'.repeat(i * 7) })),
    { 'x-49': 'aeiou'.repeat(49 * 7) },
  ];
  const decoder = createHeaderDecoder();
  const decoded = (await blocksOf(requests)).map((block) => Object.fromEntries(decoder.decode(block)));
  expect(decoded).toEqual(requests.map((headers) => expect.objectContaining(headers)));
});

it('decodes what it encodes', () => {
  const headers: Header[] = [
    [':method', 'POST'],
    [':path', `/${'long'.repeat(100)}`],
    ['te', 'trailers'],
  ];
  expect(createHeaderDecoder().decode(encodeHeaders(headers))).toEqual(headers);
});

it.each([
  ['an index that the table has not', Buffer.of(0xff, 0x10), /no such one/],
  ['an index of nought', Buffer.of(0x80), /no such one/],
  ['a string that ends too early', Buffer.of(0x00, 0x05, 0x61), /ends within a string/],
  ['a block that ends too early', Buffer.of(0x7f), /ends too early/],
  ['an integer without an end', Buffer.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), /too large/],
  ['a table that is too large', Buffer.of(0x3f, 0xff, 0xff, 0x03), /more than was allowed/],
  ['wrong padding', Buffer.of(0x00, 0x81, 0x00, 0x00), /padding|none/],
])('refuses %s', (_, block, reason) => {
  expect(() => createHeaderDecoder().decode(block)).toThrow(reason);
});
