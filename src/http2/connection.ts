import type { Socket } from 'node:net';
import { createFrameReader } from './frame-reader.ts';
import {
  DEFAULT_FRAME_BYTES,
  DEFAULT_WINDOW,
  ERROR_CODE,
  errorCodeName,
  FLAG,
  FRAME,
  frame,
  HEAD_BYTES,
  MAX_WINDOW,
  PREFACE,
  SETTING,
  settingsFrame,
  uint32Frame,
  writeHead,
} from './frames.ts';
import { createHeaderDecoder, type Header } from './hpack.ts';
import { ProtocolError } from './protocol-error.ts';
import { createSendBuffer } from './send-buffer.ts';

/** What a peer may send on one stream before we have taken it, in bytes. */
const STREAM_WINDOW = 1024 * 1024;
/** What a peer may send on all streams of a connection before we have taken it, in bytes. */
const CONNECTION_WINDOW = 16 * 1024 * 1024;
/** Header blocks may come in several frames: so many bytes at most. */
const MAX_BLOCK_BYTES = 64 * 1024;
/** Stream numbers end here (RFC 9113, 5.1.1): the next stream needs another connection. */
const LAST_STREAM = 0x7fffffff;
/** A data payload up to this size is copied beside its head. */
const COPIED_BYTES = 4 * 1024;
/** How long the peer has to close its side when ours is closed. */
const LEAVING_MS = 1_000;
const NOTHING = Buffer.alloc(0);

/** What happens to one stream. After `closed` nothing more does. */
export interface StreamEvents {
  /** Headers, or trailers. */
  headers(headers: readonly Header[]): void;
  /** The payload of a data frame: only there until this returns. */
  data(payload: Buffer): void;
  /** All that was written has gone. */
  drained(): void;
  closed(end: StreamEnd): void;
}

/** How a stream ended. */
export type StreamEnd =
  /** The peer has said all that it had to say. */
  | { readonly kind: 'ended' }
  | { readonly kind: 'reset'; readonly code: number }
  /** The peer has done nothing of it (RFC 9113, 8.7). */
  | { readonly kind: 'refused' }
  | { readonly kind: 'connection lost'; readonly reason: string };

export interface ClientStream {
  /**
   * Sends both, one after the other, as far as flow control lets them go; false: some of it waits, and `drained` will tell. `head`
   * may be used again at once, `body` must not change any more.
   */
  write(head: Buffer, body: Buffer): boolean;
  /** After all that was written: nothing more comes from us. */
  end(): void;
  /** Ends it both ways at once; no event comes any more. */
  reset(code: number): void;
  /** Lets the peer send no more than its window, until `resume`. */
  pause(): void;
  resume(): void;
  /** Bytes that wait for the peer. */
  readonly waiting: number;
}

/** The client's side of an HTTP/2 connection (RFC 9113). */
export interface ClientConnection {
  /** False: it takes no new streams any more. */
  readonly isOpen: boolean;
  /** `block`: header block, by `encodeHeaders`. Waits while the peer has as many streams as it wants. */
  open(block: Buffer, events: StreamEvents): ClientStream;
  /** Takes no new streams, and ends when those that are there have ended. */
  close(): void;
}

/** What happens to a connection, each once. */
export interface ConnectionEvents {
  /** The peer has said its first word: it speaks HTTP/2. */
  ready(): void;
  /** It takes no new streams any more, and why. */
  closed(reason: string): void;
}

/**
 * Speaks HTTP/2 over a connected socket. Made for thousands of streams with small messages, which is how entities are called:
 * what is written within one turn of the event loop, on whatever streams, leaves in one piece, and a message costs no object but
 * its own bytes. What grpc-js and node:http2 do for each message was half of the engine's time (bench/README.md).
 */
export function createClientConnection(socket: Socket, events: ConnectionEvents): ClientConnection {
  const streams = new Map<number, Stream>();
  const unopened: Stream[] = [];
  /** Streams that have something to send and no window for it, in order. */
  const blocked = new Set<Stream>();
  const sending = createSendBuffer(socket);
  const decoder = createHeaderDecoder();
  let isOpen = true;
  let isLost = false;
  let isReady = false;
  let nextId = 1;
  let maxStreams = Number.POSITIVE_INFINITY;
  let peerFrameBytes = DEFAULT_FRAME_BYTES;
  let peerWindow = DEFAULT_WINDOW;
  let sendWindow = DEFAULT_WINDOW;
  let taken = 0;
  /** A header block that has not ended. */
  let unfinished:
    | { readonly id: number; readonly endsStream: boolean; readonly parts: Buffer[]; bytes: number }
    | undefined;

  class Stream implements ClientStream {
    id = 0;
    /** What the peer lets us send. */
    window = peerWindow;
    readonly #queue: Buffer[] = [];
    waiting = 0;
    #ending = false;
    #ended = false;
    #taken = 0;
    #owesDrained = false;
    #paused = false;
    isOver = false;
    readonly block: Buffer;
    readonly events: StreamEvents;

    constructor(block: Buffer, events: StreamEvents) {
      this.block = block;
      this.events = events;
    }

    write(head: Buffer, body: Buffer): boolean {
      if (this.isOver || this.#ending) return true;
      const length = head.length + body.length;
      if (this.waiting === 0 && this.id !== 0 && this.#fits(length)) {
        this.#send(head, body);
        return true;
      }
      // An empty one would be sent as a frame of no use, whatever the window is.
      for (const bytes of [Buffer.from(head), body]) if (bytes.length > 0) this.#queue.push(bytes);
      this.waiting += length;
      this.pump();
      this.#owesDrained = this.waiting > 0;
      return !this.#owesDrained;
    }

    end(): void {
      if (this.isOver || this.#ending) return;
      this.#ending = true;
      this.pump();
    }

    reset(code: number): void {
      if (this.isOver) return;
      if (this.id !== 0) sending.write(uint32Frame(FRAME.rstStream, this.id, code));
      this.over();
    }

    pause(): void {
      this.#paused = true;
    }

    resume(): void {
      this.#paused = false;
      this.#grant();
    }

    #fits(length: number): boolean {
      return length <= this.window && length <= sendWindow && length <= peerFrameBytes;
    }

    #send(head: Buffer, body: Buffer): void {
      const length = head.length + body.length;
      this.window -= length;
      sendWindow -= length;
      const isCopied = body.length <= COPIED_BYTES;
      const { into, at } = sending.reserve(HEAD_BYTES + (isCopied ? length : head.length));
      const next = writeHead(into, at, length, FRAME.data, 0, this.id);
      into.set(head, next);
      if (isCopied) into.set(body, next + head.length);
      else sending.write(body);
    }

    /** Sends what may be sent. */
    pump(): void {
      if (this.id === 0) return;
      while (this.#queue.length > 0) {
        const bytes = this.#queue[0] as Buffer;
        const length = Math.min(bytes.length, this.window, sendWindow, peerFrameBytes);
        // A window may be negative (RFC 9113, 6.9.2).
        if (length <= 0) break;
        this.#send(NOTHING, bytes.subarray(0, length));
        this.waiting -= length;
        if (length === bytes.length) this.#queue.shift();
        else this.#queue[0] = bytes.subarray(length);
      }
      if (this.waiting > 0) {
        blocked.add(this);
        return;
      }
      blocked.delete(this);
      if (this.#ending && !this.#ended) {
        this.#ended = true;
        sending.write(frame(FRAME.data, FLAG.endStream, this.id, NOTHING));
      }
      if (this.#owesDrained) {
        this.#owesDrained = false;
        this.events.drained();
      }
    }

    received(payload: Buffer, length: number): void {
      this.#taken += length;
      if (payload.length > 0) this.events.data(payload);
      if (!this.#paused) this.#grant();
    }

    #grant(): void {
      if (this.isOver || this.id === 0 || this.#taken < STREAM_WINDOW / 2) return;
      sending.write(uint32Frame(FRAME.windowUpdate, this.id, this.#taken));
      this.#taken = 0;
    }

    /** The peer has ended its side: what we had to say is of no use any more (RFC 9113, 8.1). */
    finish(): void {
      if (!this.#ended) sending.write(uint32Frame(FRAME.rstStream, this.id, ERROR_CODE.noError));
      this.close({ kind: 'ended' });
    }

    close(end: StreamEnd): void {
      if (this.isOver) return;
      this.over();
      this.events.closed(end);
    }

    over(): void {
      this.isOver = true;
      blocked.delete(this);
      this.#queue.length = 0;
      this.waiting = 0;
      if (this.id === 0) {
        const index = unopened.indexOf(this);
        if (index >= 0) unopened.splice(index, 1);
        return;
      }
      streams.delete(this.id);
      admit();
      if (!isOpen && streams.size === 0) leave();
    }
  }

  function admit(): void {
    while (isOpen && unopened.length > 0 && streams.size < maxStreams) start(unopened.shift() as Stream);
  }

  function start(stream: Stream): void {
    stream.id = nextId;
    stream.window = peerWindow;
    nextId += 2;
    streams.set(stream.id, stream);
    sending.write(frame(FRAME.headers, FLAG.endHeaders, stream.id, stream.block));
    stream.pump();
    if (nextId > LAST_STREAM) stop('all numbers of streams are used');
  }

  /** No new streams. */
  function stop(reason: string): void {
    if (!isOpen) return;
    isOpen = false;
    const refused = unopened.splice(0);
    events.closed(reason);
    for (const stream of refused) stream.close({ kind: 'refused' });
    if (streams.size === 0) leave();
  }

  function leave(): void {
    if (isLost) return;
    sending.flush();
    socket.end();
    // A peer that does not close its side is not waited for.
    setTimeout(() => socket.destroy(), LEAVING_MS).unref();
  }

  function lose(reason: string): void {
    if (isLost) return;
    isLost = true;
    stop(reason);
    socket.destroy();
    for (const stream of [...streams.values()]) stream.close({ kind: 'connection lost', reason });
  }

  /** The peer broke the protocol. */
  function breakOff(sentence: string): void {
    const last = Buffer.alloc(8);
    last.writeUInt32BE(ERROR_CODE.protocolError, 4);
    sending.write(frame(FRAME.goaway, 0, 0, last));
    sending.flush();
    lose(`the peer broke HTTP/2: ${sentence}`);
  }

  function takeHeaders(id: number, endsStream: boolean, block: Buffer): void {
    const headers = decoder.decode(block);
    const stream = streams.get(id);
    if (stream === undefined) return;
    stream.events.headers(headers);
    if (endsStream) stream.finish();
  }

  function takeSettings(payload: Buffer): void {
    for (let at = 0; at + 6 <= payload.length; at += 6) {
      const setting = payload.readUInt16BE(at);
      const value = payload.readUInt32BE(at + 2);
      if (setting === SETTING.maxConcurrentStreams) maxStreams = value;
      else if (setting === SETTING.maxFrameBytes) peerFrameBytes = value;
      else if (setting === SETTING.initialWindow) {
        if (value > MAX_WINDOW) throw new ProtocolError(`an initial window of ${value} bytes`);
        for (const stream of streams.values()) stream.window += value - peerWindow;
        peerWindow = value;
      }
    }
    sending.write(frame(FRAME.settings, FLAG.ack, 0, NOTHING));
    if (!isReady) {
      isReady = true;
      events.ready();
    }
    unblock();
    admit();
  }

  function unblock(): void {
    for (const stream of blocked) {
      if (sendWindow <= 0) return;
      stream.pump();
    }
  }

  const reader = createFrameReader(DEFAULT_FRAME_BYTES, (type, flags, id, payload) => {
    if (isLost) return;
    if (unfinished !== undefined && (type !== FRAME.continuation || id !== unfinished.id)) {
      throw new ProtocolError('a header block that does not end');
    }
    switch (type) {
      case FRAME.data: {
        taken += payload.length;
        if (taken >= CONNECTION_WINDOW / 2) {
          sending.write(uint32Frame(FRAME.windowUpdate, 0, taken));
          taken = 0;
        }
        const stream = streams.get(id);
        if (stream === undefined) return;
        stream.received((flags & FLAG.padded) === 0 ? payload : unpadded(payload), payload.length);
        if ((flags & FLAG.endStream) !== 0) stream.finish();
        return;
      }
      case FRAME.headers: {
        let block = (flags & FLAG.padded) === 0 ? payload : unpadded(payload);
        if ((flags & FLAG.priority) !== 0) block = block.subarray(5);
        const endsStream = (flags & FLAG.endStream) !== 0;
        if ((flags & FLAG.endHeaders) !== 0) takeHeaders(id, endsStream, block);
        else unfinished = { id, endsStream, parts: [Buffer.from(block)], bytes: block.length };
        return;
      }
      case FRAME.continuation: {
        if (unfinished === undefined) throw new ProtocolError('a continuation of no header block');
        unfinished.parts.push(Buffer.from(payload));
        unfinished.bytes += payload.length;
        if (unfinished.bytes > MAX_BLOCK_BYTES)
          throw new ProtocolError(`a header block of more than ${MAX_BLOCK_BYTES} bytes`);
        if ((flags & FLAG.endHeaders) === 0) return;
        const { endsStream, parts } = unfinished;
        unfinished = undefined;
        takeHeaders(id, endsStream, Buffer.concat(parts));
        return;
      }
      case FRAME.rstStream:
        if (payload.length !== 4) throw new ProtocolError('a reset of another size');
        streams.get(id)?.close(resetAs(payload.readUInt32BE(0)));
        return;
      case FRAME.settings:
        if ((flags & FLAG.ack) === 0) takeSettings(payload);
        return;
      case FRAME.ping:
        if ((flags & FLAG.ack) === 0) sending.write(frame(FRAME.ping, FLAG.ack, 0, Buffer.from(payload)));
        return;
      case FRAME.goaway: {
        if (payload.length < 8) throw new ProtocolError('a GOAWAY of another size');
        const last = payload.readUInt32BE(0) & 0x7fffffff;
        const code = payload.readUInt32BE(4);
        const said = payload.subarray(8).toString('latin1');
        stop(`the peer goes away (${errorCodeName(code)}${said === '' ? '' : `: ${said}`})`);
        for (const stream of [...streams.values()]) if (stream.id > last) stream.close({ kind: 'refused' });
        return;
      }
      case FRAME.windowUpdate: {
        if (payload.length !== 4) throw new ProtocolError('a window update of another size');
        const more = payload.readUInt32BE(0) & 0x7fffffff;
        if (id === 0) {
          sendWindow += more;
          if (sendWindow > MAX_WINDOW) throw new ProtocolError('a window that is too large');
          unblock();
          return;
        }
        const stream = streams.get(id);
        if (stream === undefined) return;
        stream.window += more;
        if (stream.waiting > 0) stream.pump();
        return;
      }
      case FRAME.pushPromise:
        throw new ProtocolError('a push, which was declined');
      default:
        return;
    }
  });

  socket.on('data', (chunk: Buffer) => {
    try {
      reader.push(chunk);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      breakOff(error.message);
    }
  });
  socket.on('error', (error) => lose(error.message));
  socket.on('close', () => lose('the connection was closed'));
  sending.write(PREFACE);
  sending.write(
    settingsFrame([
      [SETTING.enablePush, 0],
      [SETTING.initialWindow, STREAM_WINDOW],
    ]),
  );
  sending.write(uint32Frame(FRAME.windowUpdate, 0, CONNECTION_WINDOW - DEFAULT_WINDOW));

  return {
    get isOpen() {
      return isOpen;
    },
    open(block, events) {
      const stream = new Stream(block, events);
      if (streams.size < maxStreams && unopened.length === 0) start(stream);
      else unopened.push(stream);
      return stream;
    },
    close() {
      stop('it was closed');
    },
  };
}

function unpadded(payload: Buffer): Buffer {
  const padding = payload[0] ?? 0;
  if (padding >= payload.length) throw new ProtocolError('more padding than there is');
  return payload.subarray(1, payload.length - padding);
}

function resetAs(code: number): StreamEnd {
  return code === ERROR_CODE.refusedStream ? { kind: 'refused' } : { kind: 'reset', code };
}
