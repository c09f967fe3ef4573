import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { CallStatus, MessageReader } from '../../../src/functions/grpc-call.ts';
import { GrpcError } from '../../../src/functions/grpc-error.ts';
import { createClientConnection } from '../../../src/http2/connection.ts';
import { ERROR_CODE, FLAG, FRAME, frame, settingsFrame } from '../../../src/http2/frames.ts';
import { encodeHeaders } from '../../../src/http2/hpack.ts';
import { Broken, Cursor, type FuzzTarget, joined } from '../target.ts';

const STREAMS = 3;

/** What a function's HTTP/2 server may send, in two pieces: each stream ends once, and nothing comes after its end. */
export function http2(): FuzzTarget {
  const message = Buffer.of(0, 0, 0, 0, 2, 8, 1);
  const ok = encodeHeaders([[':status', '200']]);
  const trailers = encodeHeaders([
    ['grpc-status', '5'],
    ['grpc-message', 'not%20there'],
  ]);
  return {
    seeds: [
      joined(
        0,
        settingsFrame([[3, 2]]),
        frame(FRAME.headers, FLAG.endHeaders, 1, ok),
        frame(FRAME.data, 0, 1, message),
        frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 1, trailers),
      ),
      joined(
        20,
        settingsFrame([[4, 10]]),
        frame(FRAME.headers, 0, 3, Buffer.of(0x88)),
        frame(FRAME.continuation, FLAG.endHeaders, 3, Buffer.of(0x48, 0x82, 0x64, 0x02)),
        frame(FRAME.windowUpdate, 0, 3, Buffer.of(0, 0, 1, 0)),
        frame(FRAME.rstStream, 0, 3, Buffer.of(0, 0, 0, 7)),
        frame(FRAME.goaway, 0, 0, Buffer.of(0, 0, 0, 1, 0, 0, 0, 0, 104, 105)),
      ),
      joined(
        9,
        settingsFrame([]),
        frame(FRAME.data, FLAG.padded, 1, Buffer.concat([Buffer.of(1), message, Buffer.of(0)])),
        frame(FRAME.ping, 0, 0, Buffer.alloc(8)),
      ),
    ],
    words: [
      '\x00\x00\x00\x04\x01\x00\x00\x00\x00',
      '\x00\x00\x00\x01',
      '\x7f\xff\xff\xff',
      '\x88',
      '\x3f\xe1\x1f',
      'grpc-status',
    ],
    run(input) {
      const cursor = new Cursor(input);
      const cut = cursor.byte();
      const bytes = cursor.rest();
      const socket = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
      socket.on('error', () => undefined);
      let closings = 0;
      const connection = createClientConnection(socket as Socket, { ready: () => undefined, closed: () => closings++ });
      const streams = Array.from({ length: STREAMS }, () => {
        let isOver = false;
        const status = new CallStatus();
        const reader = new MessageReader(1_000, () => undefined);
        const alive = (): void => {
          if (isOver) throw new Broken('something happened to a stream that had ended');
        };
        const stream = connection.open(encodeHeaders([[':path', '/a/b']]), {
          headers(headers) {
            alive();
            status.take(headers);
          },
          data(payload) {
            alive();
            try {
              reader.push(payload);
            } catch (error) {
              if (!(error instanceof GrpcError)) throw error;
              isOver = true;
              stream.reset(ERROR_CODE.cancel);
            }
          },
          drained: alive,
          closed(end) {
            alive();
            isOver = true;
            status.after(end);
          },
        });
        stream.write(Buffer.of(0, 0, 0, 0, 9), Buffer.alloc(40_000));
        return stream;
      });
      // By hand, so that what is thrown is thrown here; the connection itself answers broken frames by going away.
      socket.emit('data', Buffer.from(bytes.subarray(0, cut)));
      if (!socket.destroyed) socket.emit('data', Buffer.from(bytes.subarray(cut)));
      for (const stream of streams) stream.reset(ERROR_CODE.cancel);
      connection.close();
      socket.destroy();
      if (closings !== 1) throw new Broken(`it was closed ${closings} times`);
    },
  };
}
