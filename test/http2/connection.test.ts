import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { describe, expect, it } from 'vitest';
import {
  type ClientConnection,
  type ClientStream,
  createClientConnection,
  type StreamEnd,
} from '../../src/http2/connection.ts';
import { ERROR_CODE, FLAG, FRAME, frame, SETTING, settingsFrame } from '../../src/http2/frames.ts';
import { encodeHeaders, type Header } from '../../src/http2/hpack.ts';
import { eventually } from '../support/processes.ts';
import type { Scope } from '../support/scope.ts';

const NO_HEAD = Buffer.alloc(0);
const POST = encodeHeaders([
  [':method', 'POST'],
  [':scheme', 'http'],
  [':path', '/echo'],
  [':authority', 'test'],
]);

/** What happened to a stream. */
class Seen {
  readonly headerLists: (readonly Header[])[] = [];
  readonly pieces: Buffer[] = [];
  drains = 0;
  end: StreamEnd | undefined;
  headers(headers: readonly Header[]): void {
    this.headerLists.push(headers);
  }
  data(payload: Buffer): void {
    this.pieces.push(Buffer.from(payload));
  }
  drained(): void {
    this.drains++;
  }
  closed(end: StreamEnd): void {
    this.end = end;
  }
  get bytes(): Buffer {
    return Buffer.concat(this.pieces);
  }
}

interface Opened {
  readonly connection: ClientConnection;
  readonly closed: string[];
  open(): { readonly seen: Seen; readonly stream: ClientStream };
}

async function connectTo(t: Scope, server: net.Server): Promise<Opened> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1');
  t.onTestFinished(async () => {
    socket.destroy();
    server.close();
  });
  await once(socket, 'connect');
  const closed: string[] = [];
  let connection: ClientConnection | undefined;
  await new Promise<void>((resolve) => {
    connection = createClientConnection(socket, { ready: resolve, closed: (reason) => closed.push(reason) });
  });
  const made = connection as unknown as ClientConnection;
  return {
    connection: made,
    closed,
    open() {
      const seen = new Seen();
      return { seen, stream: made.open(POST, seen) };
    },
  };
}

/** The server of Node.js (nghttp2), with these settings. */
function realServer(settings: http2.Settings, serve: (stream: http2.ServerHttp2Stream) => void): net.Server {
  const server = http2.createServer({ settings });
  server.on('stream', (stream) => {
    stream.on('error', () => undefined);
    serve(stream);
  });
  server.on('sessionError', () => undefined);
  return server;
}

function echo(stream: http2.ServerHttp2Stream): void {
  stream.respond({ ':status': 200 }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'x-trailer': 'the end' }));
  stream.pipe(stream);
}

describe('with another implementation', () => {
  it.for<[string, http2.Settings]>([
    ['its defaults', {}],
    ['a small window', { initialWindowSize: 1_000 }],
    ['large frames and windows', { initialWindowSize: 8_000_000, maxFrameSize: 1_000_000 }],
  ])('all that is sent comes back, in order, with headers and trailers: %s', async ([, settings], t) => {
    const { open } = await connectTo(t, realServer(settings, echo));
    const sent = [0, 1, 17, 5_000, 100_000, 1_500_000].map((length, i) => Buffer.alloc(length, 65 + i));
    const streams = Array.from({ length: 5 }, open);
    for (const bytes of sent) for (const { stream } of streams) stream.write(Buffer.from('head'), bytes);
    for (const { stream } of streams) stream.end();
    await eventually('all streams have ended', () => streams.every(({ seen }) => seen.end !== undefined));
    const all = Buffer.concat(sent.flatMap((bytes) => [Buffer.from('head'), bytes]));
    for (const { seen } of streams) {
      expect(seen.end).toEqual({ kind: 'ended' });
      expect(seen.bytes.equals(all)).toBe(true);
      expect(Object.fromEntries(seen.headerLists.flat())).toMatchObject({ ':status': '200', 'x-trailer': 'the end' });
    }
  });

  it('tells that something waits, and when it has gone', async (t) => {
    let arrived: http2.ServerHttp2Stream | undefined;
    const { open } = await connectTo(
      t,
      realServer({}, (stream) => {
        arrived = stream;
      }),
    );
    const { stream, seen } = open();
    expect(stream.write(NO_HEAD, Buffer.alloc(60_000))).toBe(true);
    expect(stream.write(NO_HEAD, Buffer.alloc(60_000))).toBe(false);
    expect(stream.waiting).toBeGreaterThan(0);
    expect(seen.drains).toBe(0);
    await eventually('it has arrived', () => arrived !== undefined);
    arrived?.resume();
    await eventually('it has gone', () => seen.drains > 0);
    expect(stream.waiting).toBe(0);
  });

  it('a stream that is paused holds its sender back, and nobody else', async (t) => {
    const total = 4_000_000;
    const { open } = await connectTo(
      t,
      realServer({}, (stream) => {
        stream.respond({ ':status': 200 });
        stream.end(Buffer.alloc(total));
      }),
    );
    const slow = open();
    slow.stream.pause();
    const fast = open();
    await eventually('the other one is done', () => fast.seen.end !== undefined);
    expect(fast.seen.bytes.length).toBe(total);
    expect(slow.seen.bytes.length).toBeLessThanOrEqual(1024 * 1024);
    expect(slow.seen.end).toBeUndefined();
    slow.stream.resume();
    await eventually('it is done, too', () => slow.seen.end !== undefined);
    expect(slow.seen.bytes.length).toBe(total);
  });

  it('opens no more streams at once than the peer wants', async (t) => {
    const held: http2.ServerHttp2Stream[] = [];
    const { open } = await connectTo(
      t,
      realServer({ maxConcurrentStreams: 2 }, (stream) => {
        held.push(stream);
      }),
    );
    const streams = Array.from({ length: 5 }, open);
    for (let ended = 0; ended < 5; ended++) {
      await eventually('the next one is there', () => held.length > ended);
      expect(held.length).toBeLessThanOrEqual(ended + 2);
      held[ended]?.respond({ ':status': 200 }, { endStream: true });
    }
    await eventually('all have ended', () => streams.every(({ seen }) => seen.end?.kind === 'ended'));
  });

  it('a stream that is reset ends, the others go on', async (t) => {
    const held: http2.ServerHttp2Stream[] = [];
    const { open } = await connectTo(
      t,
      realServer({}, (stream) => {
        held.push(stream);
        echo(stream);
      }),
    );
    const [one, two, three] = [open(), open(), open()];
    await eventually('all are there', () => held.length === 3);
    held[0]?.close(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
    await eventually('it is told', () => one.seen.end !== undefined);
    expect(one.seen.end).toEqual({ kind: 'reset', code: ERROR_CODE.enhanceYourCalm });
    const reset = once(held[1] as http2.ServerHttp2Stream, 'aborted');
    two.stream.reset(ERROR_CODE.cancel);
    await reset;
    expect(held[1]?.rstCode).toBe(ERROR_CODE.cancel);
    three.stream.write(NO_HEAD, Buffer.from('still here'));
    three.stream.end();
    await eventually('the third one ended', () => three.seen.end?.kind === 'ended');
    expect(String(three.seen.bytes)).toBe('still here');
    expect(two.seen.end).toBeUndefined();
  });

  it('when it goes away, streams that it took end as they would, and new ones are refused', async (t) => {
    const held: http2.ServerHttp2Stream[] = [];
    const { connection, closed, open } = await connectTo(
      t,
      realServer({}, (stream) => {
        held.push(stream);
        echo(stream);
      }),
    );
    const { seen, stream } = open();
    await eventually('it is there', () => held.length === 1);
    held[0]?.session?.goaway(ERROR_CODE.noError, 1);
    await eventually('it is told', () => closed.length > 0);
    expect(closed[0]).toMatch(/goes away \(NO_ERROR/);
    expect(connection.isOpen).toBe(false);
    stream.write(NO_HEAD, Buffer.from('last words'));
    stream.end();
    await eventually('it ended', () => seen.end !== undefined);
    expect([seen.end?.kind, String(seen.bytes)]).toEqual(['ended', 'last words']);
    expect(closed).toHaveLength(1);
  });

  it('when it dies, every stream is told', async (t) => {
    const held: http2.ServerHttp2Stream[] = [];
    const server = realServer({ maxConcurrentStreams: 2 }, (stream) => {
      held.push(stream);
    });
    const sockets: net.Socket[] = [];
    server.on('connection', (socket) => sockets.push(socket));
    const { closed, open } = await connectTo(t, server);
    const streams = [open(), open(), open()];
    await eventually('they are there', () => held.length === 2);
    sockets[0]?.destroy();
    await eventually('all are told', () => streams.every(({ seen }) => seen.end !== undefined));
    expect(streams.map(({ seen }) => seen.end?.kind)).toEqual(['connection lost', 'connection lost', 'refused']);
    expect(closed).toHaveLength(1);
  });
});

it('what is written while the window is negative waits, an empty message too', async (t) => {
  const frames: Buffer[] = [];
  let peer: net.Socket | undefined;
  const server = net.createServer((socket) => {
    peer = socket;
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => frames.push(chunk));
    socket.write(settingsFrame([]));
  });
  const { connection, open } = await connectTo(t, server);
  const { stream, seen } = open();
  stream.write(NO_HEAD, Buffer.alloc(10_000));
  const dataBytes = () => Buffer.concat(frames).length;
  await eventually('it has come', () => dataBytes() > 10_000);
  const marker = open();
  peer?.write(
    Buffer.concat([settingsFrame([[SETTING.initialWindow, 5_000]]), frame(FRAME.ping, 0, 0, Buffer.from('12345678'))]),
  );
  await eventually('the ping is answered', () => Buffer.concat(frames).includes('12345678'));
  expect(stream.write(Buffer.from('head'), NO_HEAD)).toBe(false);
  expect([stream.waiting, seen.drains]).toEqual([4, 0]);
  expect(marker.stream.write(Buffer.from('head'), NO_HEAD)).toBe(true);
  peer?.write(frame(FRAME.windowUpdate, 0, 1, Buffer.of(0, 0, 0x20, 0)));
  await eventually('it has gone', () => seen.drains === 1);
  expect(stream.waiting).toBe(0);
  connection.close();
});

describe('a peer that breaks the protocol', () => {
  /** Says its settings, and these bytes after the first headers have come. */
  function saying(...said: readonly Buffer[]): net.Server {
    return net.createServer((socket) => {
      socket.on('error', () => undefined);
      socket.write(settingsFrame([]));
      socket.once('data', () => socket.once('data', () => socket.write(Buffer.concat(said))));
    });
  }

  it.for<[string, Buffer, RegExp]>([
    ['a frame that is too large', Buffer.of(0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1), /and 16384 are allowed/],
    ['a header block that is none', frame(FRAME.headers, FLAG.endHeaders, 1, Buffer.of(0xff)), /ends too early/],
    ['a push', frame(FRAME.pushPromise, 0, 1, Buffer.alloc(4)), /a push/],
    ['padding that is none', frame(FRAME.data, FLAG.padded, 1, Buffer.of(9, 1)), /more padding/],
    ['a reset without a code', frame(FRAME.rstStream, 0, 1, Buffer.of(1)), /a reset of another size/],
    ['a window that is too large', frame(FRAME.windowUpdate, 0, 0, Buffer.of(0x7f, 255, 255, 255)), /too large/],
    [
      'a header block without an end',
      Buffer.concat([frame(FRAME.headers, 0, 1, Buffer.of(0x88)), frame(FRAME.ping, 0, 0, Buffer.alloc(8))]),
      /does not end/,
    ],
    ['a continuation of nothing', frame(FRAME.continuation, FLAG.endHeaders, 1, Buffer.of(0x88)), /of no header block/],
  ])('by %s is left, with the reason', async ([, said, reason], t) => {
    const { closed, open } = await connectTo(t, saying(said));
    const { seen, stream } = open();
    stream.write(NO_HEAD, Buffer.from('hello'));
    await eventually('it is told', () => seen.end !== undefined);
    expect(seen.end).toMatchObject({ kind: 'connection lost', reason: expect.stringMatching(reason) });
    expect(closed).toHaveLength(1);
  });

  it('takes what is padded, has a priority, or comes in pieces', async (t) => {
    const status = Buffer.of(0x88);
    const { open } = await connectTo(
      t,
      saying(
        frame(FRAME.headers, FLAG.padded | FLAG.priority, 1, Buffer.of(2, 0, 0, 0, 0, 9, ...status, 0, 0)),
        frame(FRAME.continuation, FLAG.endHeaders, 1, encodeHeaders([['x-more', 'there']])),
        frame(FRAME.data, FLAG.padded, 1, Buffer.concat([Buffer.of(1), Buffer.from('padded'), Buffer.of(0)])),
        frame(0x77, 0xff, 1, Buffer.from('a type that nobody knows')),
        frame(FRAME.data, FLAG.endStream, 1, Buffer.from(', and not')),
      ),
    );
    const { seen, stream } = open();
    stream.write(NO_HEAD, Buffer.from('hello'));
    await eventually('it ended', () => seen.end !== undefined);
    expect([seen.end, String(seen.bytes), seen.headerLists]).toEqual([
      { kind: 'ended' },
      'padded, and not',
      [
        [
          [':status', '200'],
          ['x-more', 'there'],
        ],
      ],
    ]);
  });
});
