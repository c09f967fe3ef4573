import { decodeText, messageFrame, readOneFrame, trailersFrame } from '../../../src/doors/http/grpc-web-frames.ts';
import { Cursor, type FuzzTarget, joined, orRefused, same } from '../target.ts';
import { isRefusedRequest } from './refusals.ts';

/** Bodies of gRPC-Web, in bytes and as text: one message, or an HTTP failure; what is framed is read again. */
export function grpcWeb(): FuzzTarget {
  return {
    seeds: [
      joined(0, messageFrame(Buffer.from('hello'))),
      joined(1, messageFrame(Buffer.from('hello')).toString('base64')),
      joined(1, 'AAAAAAE=', 'YQ=='),
      joined(2, ['grpc-status'], ['value'], 'message'),
    ],
    words: ['\x00\x00\x00\x00', '\x80', '\x01', '=', '==', '\xff\xff\xff\xff', '\r\n', '%'],
    run(input) {
      const cursor = new Cursor(input);
      const kind = cursor.byte() % 3;
      if (kind === 2) {
        const metadata = [{ key: cursor.part().toString('utf8'), value: cursor.part().toString('utf8') }];
        const frame = trailersFrame(3, cursor.rest().toString('utf8'), metadata).subarray(5).toString('latin1');
        if (/[\r\n]/.test(frame.replaceAll(/[!-~]+: [^\r\n]*\r\n/g, '')))
          throw new Error(`a header line is broken: ${JSON.stringify(frame)}`);
        return;
      }
      const body = kind === 0 ? cursor.rest() : orRefused(() => decodeText(cursor.rest()), isRefusedRequest);
      if (body === undefined) return;
      const message = orRefused(() => readOneFrame(body, 1_000), isRefusedRequest);
      if (message !== undefined) same(messageFrame(message), body, 'a frame');
    },
  };
}
