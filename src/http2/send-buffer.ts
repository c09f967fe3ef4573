import type { Writable } from 'node:stream';

/** What is gathered in one piece before the next is begun, in bytes; what is larger than a quarter of it is not copied. */
const PIECE_BYTES = 64 * 1024;

/** Gathers what is written within one turn of the event loop into as few writes to the socket as can be. */
export interface SendBuffer {
  /** So many bytes at `at` of `into`, to be written by the caller at once. */
  reserve(length: number): { readonly into: Buffer; readonly at: number };
  /** Not to be changed by its owner afterwards. */
  write(bytes: Buffer): void;
  /** Writes what is gathered now. */
  flush(): void;
}

export function createSendBuffer(socket: Writable): SendBuffer {
  let piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
  let from = 0;
  let at = 0;
  let due: NodeJS.Immediate | undefined;
  const whole: Buffer[] = [];

  function cut(): void {
    if (at > from) whole.push(piece.subarray(from, at));
    from = at;
  }

  function flush(): void {
    if (due !== undefined) clearImmediate(due);
    due = undefined;
    cut();
    if (whole.length === 0) return;
    if (whole.length > 1) socket.cork();
    for (const bytes of whole) socket.write(bytes);
    if (whole.length > 1) socket.uncork();
    whole.length = 0;
  }

  function soon(): void {
    due ??= setImmediate(flush);
  }

  return {
    reserve(length) {
      soon();
      if (at + length > PIECE_BYTES) {
        cut();
        piece = Buffer.allocUnsafeSlow(Math.max(PIECE_BYTES, length));
        from = 0;
        at = 0;
      }
      const start = at;
      at += length;
      return { into: piece, at: start };
    },
    write(bytes) {
      soon();
      cut();
      whole.push(bytes);
    },
    flush,
  };
}
