import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { createFunctionClient, type FunctionClient } from '../../src/functions/client.ts';
import type { GrpcError } from '../../src/functions/grpc-error.ts';
import { eventually } from '../support/processes.ts';
import type { Scope } from '../support/scope.ts';

type Serve = (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void;

/** A client of an HTTP/2 server that answers as `serve` does. */
async function clientOf(t: Scope, serve: Serve): Promise<{ client: FunctionClient; server: http2.Http2Server }> {
  const server = http2.createServer();
  server.on('sessionError', () => undefined);
  server.on('stream', (stream, headers) => {
    stream.on('error', () => undefined);
    serve(stream, headers);
  });
  return { client: await clientAt(t, server), server };
}

async function clientAt(t: Scope, server: net.Server): Promise<FunctionClient> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = createFunctionClient(new URL(`http://127.0.0.1:${(server.address() as net.AddressInfo).port}`));
  t.onTestFinished(async () => {
    client.close();
    server.close();
  });
  return client;
}

const GRPC = { ':status': 200, 'content-type': 'application/grpc' };

function messageOf(bytes: Buffer, flag = 0): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flag;
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

function answer(stream: http2.ServerHttp2Stream, pieces: readonly Buffer[], trailers: http2.OutgoingHttpHeaders): void {
  stream.respond(GRPC, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers(trailers));
  for (const piece of pieces) stream.write(piece);
  stream.end();
}

const failing = (call: Promise<unknown>): Promise<GrpcError> =>
  call.then(
    () => expect.fail('it answered'),
    (error: GrpcError) => error,
  );

describe('a call', () => {
  it('is what gRPC over HTTP/2 says, and its answer may come in any pieces', async (t) => {
    let asked: http2.IncomingHttpHeaders = {};
    const body: Buffer[] = [];
    const { client } = await clientOf(t, (stream, headers) => {
      asked = headers;
      stream.on('data', (chunk: Buffer) => body.push(chunk));
      stream.on('end', () => {
        const bytes = messageOf(Buffer.from('answer'));
        answer(stream, [bytes.subarray(0, 3), bytes.subarray(3, 7), bytes.subarray(7)], { 'grpc-status': '0' });
      });
    });
    expect(String(await client.unary('/shop.Desk/Ring', Buffer.from('request'), 5_000))).toBe('answer');
    expect(asked).toMatchObject({
      ':method': 'POST',
      ':path': '/shop.Desk/Ring',
      ':scheme': 'http',
      'content-type': 'application/grpc',
      'grpc-timeout': '5000m',
      te: 'trailers',
    });
    expect(Buffer.concat(body)).toEqual(messageOf(Buffer.from('request')));
  });

  it.for<[string, Serve, status, RegExp]>([
    [
      'a status in trailers alone',
      (stream) =>
        stream.respond({ ...GRPC, 'grpc-status': '5', 'grpc-message': 'no%20caf%C3%A9' }, { endStream: true }),
      status.NOT_FOUND,
      /^no café$/,
    ],
    [
      'a message that is compressed',
      (stream) => answer(stream, [messageOf(Buffer.from('x'), 1)], { 'grpc-status': '0' }),
      status.UNIMPLEMENTED,
      /compressed/,
    ],
    [
      'a message that is too large',
      (stream) => {
        stream.respond(GRPC);
        stream.write(Buffer.of(0, 0x7f, 0, 0, 0));
      },
      status.RESOURCE_EXHAUSTED,
      /2130706432 bytes/,
    ],
    ['no message', (stream) => answer(stream, [], { 'grpc-status': '0' }), status.INTERNAL, /without an answer/],
    ['no status', (stream) => answer(stream, [messageOf(Buffer.from('x'))], {}), status.UNKNOWN, /without a status/],
    [
      'a page',
      (stream) => {
        stream.respond({ ':status': 404, 'content-type': 'text/html' });
        stream.end('<html>');
      },
      status.UNIMPLEMENTED,
      /HTTP status 404, text\/html: is it a gRPC server\?/,
    ],
    ['a reset', (stream) => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR), status.INTERNAL, /INTERNAL_ERROR/],
    ['a refusal', (stream) => stream.close(http2.constants.NGHTTP2_REFUSED_STREAM), status.UNAVAILABLE, /no more/],
    ['nothing', () => undefined, status.DEADLINE_EXCEEDED, /within 500 ms/],
    ['its end', (stream) => stream.session?.destroy(), status.UNAVAILABLE, /closed|reset|CANCEL/i],
  ])('answered by %s fails', async ([, serve, code, details], t) => {
    const { client } = await clientOf(t, serve);
    const error = await failing(client.unary('/a/b', Buffer.alloc(0), 500));
    expect([status[error.code], error.details]).toEqual([status[code], expect.stringMatching(details)]);
  });

  it('that is cancelled tells so, once, and the function', async (t) => {
    const cancelled: number[] = [];
    let isThere = false;
    const { client } = await clientOf(t, (stream) => {
      isThere = true;
      stream.on('close', () => cancelled.push(stream.rstCode));
    });
    const told: (GrpcError | null)[] = [];
    const cancel = client.call('/a/b', Buffer.alloc(0), 60_000, (error) => told.push(error));
    await eventually('it is there', () => isThere);
    cancel();
    cancel();
    await eventually('the function knows', () => cancelled.length > 0);
    expect(told.map((error) => error?.code)).toEqual([status.CANCELLED]);
    expect(cancelled).toEqual([http2.constants.NGHTTP2_CANCEL]);
  });
});

describe('where nobody is', () => {
  it('a call fails at once, with the reason, and the next one finds whoever has come', async (t) => {
    const { client, server } = await clientOf(t, (stream) =>
      answer(stream, [messageOf(Buffer.from('here'))], { 'grpc-status': '0' }),
    );
    const { port } = server.address() as net.AddressInfo;
    server.close();
    await once(server, 'close');
    const error = await failing(client.unary('/a/b', Buffer.alloc(0), 5_000));
    expect([error.code, error.details]).toEqual([status.UNAVAILABLE, expect.stringContaining('ECONNREFUSED')]);
    let lost = 0;
    client.onceLost(() => lost++);
    expect(lost).toBe(1);
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    await eventually('it answers', () =>
      client.unary('/a/b', Buffer.alloc(0), 5_000).then(
        (bytes) => String(bytes) === 'here',
        () => false,
      ),
    );
    client.onceLost(() => lost++);
    expect(lost).toBe(1);
  });

  it('one who speaks something else is not taken for a function', async (t) => {
    const server = net.createServer((socket) => {
      socket.on('error', () => undefined);
      socket.end('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n');
    });
    const client = await clientAt(t, server);
    const error = await failing(client.unary('/a/b', Buffer.alloc(0), 5_000));
    expect([error.code, error.details]).toEqual([status.UNAVAILABLE, expect.stringMatching(/HTTP\/2/)]);
  });
});
