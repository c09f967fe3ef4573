import { HEAD_BYTES } from './frames.ts';
import { ProtocolError } from './protocol-error.ts';

const NOTHING = Buffer.alloc(0);

/** What those begin with who do not speak HTTP/2 without TLS, and what is said of them. */
const STRANGERS = [
  [Buffer.from('HTTP/1'), 'it answers in HTTP/1, and not in HTTP/2: something else than a gRPC server listens there'],
  // An alert (RFC 8446, 5.1 and 6).
  [Buffer.from([0x15, 0x03]), 'it answers in TLS, and was spoken to in clear text: use https'],
] as const;

/** Takes a frame's payload, which is only there until it returns: what is to be kept must be copied. */
export type TakeFrame = (type: number, flags: number, stream: number, payload: Buffer) => void;

/**
 * Cuts what comes from a socket into frames. `push` may be given a buffer that is used again: nothing of it is held.
 * @throws ProtocolError for a frame that is larger than `maxFrameBytes`, and whatever `take` throws: nothing more must be pushed.
 */
export function createFrameReader(maxFrameBytes: number, take: TakeFrame): { push(chunk: Buffer): void } {
  let rest = NOTHING;
  let begun = false;
  return {
    push(chunk) {
      if (!begun) {
        const stranger = STRANGERS.find(([start]) => start.equals(chunk.subarray(0, start.length)));
        if (stranger !== undefined) throw new ProtocolError(stranger[1]);
        begun = true;
      }
      const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      let at = 0;
      while (bytes.length - at >= HEAD_BYTES) {
        const length = ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number);
        if (length > maxFrameBytes)
          throw new ProtocolError(`a frame of ${length} bytes, and ${maxFrameBytes} are allowed`);
        const end = at + HEAD_BYTES + length;
        if (end > bytes.length) break;
        const stream =
          (((bytes[at + 5] as number) & 0x7f) << 24) |
          ((bytes[at + 6] as number) << 16) |
          ((bytes[at + 7] as number) << 8) |
          (bytes[at + 8] as number);
        take(bytes[at + 3] as number, bytes[at + 4] as number, stream, bytes.subarray(at + HEAD_BYTES, end));
        at = end;
      }
      rest = at === bytes.length ? NOTHING : Buffer.from(bytes.subarray(at));
    },
  };
}
