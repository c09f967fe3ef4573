import { EventEmitter } from 'node:events';
import { Readable } from 'node:stream';
import { status } from '@grpc/grpc-js';
import type { ClientStream, StreamEnd, StreamEvents } from '../http2/connection.ts';
import { ERROR_CODE } from '../http2/frames.ts';
import type { Header } from '../http2/hpack.ts';
import type { Channel } from './channel.ts';
import { CallStatus, MessageReader, prefixOf } from './grpc-call.ts';
import { GrpcError } from './grpc-error.ts';

interface RawStreamEvents {
  /** A message. */
  data: [message: Buffer];
  /** It ended well. */
  end: [];
  error: [error: GrpcError];
  /** After `end` or `error`: nothing more comes. */
  close: [];
  /** What was written has gone. */
  drain: [];
}

/** A stream of raw messages to and from a function; before its connection is there, what is written waits. */
export class RawStream extends EventEmitter<RawStreamEvents> implements StreamEvents {
  #stream: ClientStream | undefined;
  /** Written before there was a connection. */
  #early: Buffer[] = [];
  #isEnding = false;
  #isOver = false;
  #isPaused = false;
  readonly #status = new CallStatus();
  readonly #reader: MessageReader;

  /** `block`: header block of the call. `maxBytes`: a longer message ends the stream (RESOURCE_EXHAUSTED). */
  constructor(channel: Channel, block: Buffer, maxBytes: number) {
    super();
    this.#reader = new MessageReader(maxBytes, (message) => this.emit('data', message));
    channel.acquire((failure, connection) => {
      if (this.#isOver) return;
      if (connection === undefined) {
        // Not within the constructor: nobody listens yet.
        process.nextTick(() => this.#finish(failure));
        return;
      }
      const stream = connection.open(block, this);
      this.#stream = stream;
      const early = this.#early.splice(0);
      for (const message of early) stream.write(prefixOf(message.length), message);
      if (this.#isEnding) stream.end();
      if (this.#isPaused) stream.pause();
      if (early.length > 0 && stream.waiting === 0) this.emit('drain');
    });
  }

  /** False: some of it waits, and `drain` will tell. */
  write(message: Buffer): boolean {
    if (this.#isOver || this.#isEnding) return true;
    if (this.#stream !== undefined) return this.#stream.write(prefixOf(message.length), message);
    this.#early.push(message);
    return false;
  }

  get writableNeedDrain(): boolean {
    return !this.#isOver && (this.#stream === undefined ? this.#early.length > 0 : this.#stream.waiting > 0);
  }

  /** It is over: nothing is sent any more. */
  get destroyed(): boolean {
    return this.#isOver;
  }

  /** After what was written: no more comes from us. */
  end(): void {
    this.#isEnding = true;
    this.#stream?.end();
  }

  /** Ends it both ways; `error` (CANCELLED) tells, not at once. */
  cancel(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stream?.reset(ERROR_CODE.cancel);
    process.nextTick(() => {
      if (this.listenerCount('error') > 0)
        this.emit('error', new GrpcError(status.CANCELLED, 'cancelled by the runtime'));
      this.emit('close');
    });
  }

  /** Messages, as fast as they are taken; throws what `error` tells. */
  [Symbol.asyncIterator](): NodeJS.AsyncIterator<Buffer> {
    const messages = new Readable({
      objectMode: true,
      read: () => this.#resume(),
      destroy: (error, done) => {
        this.cancel();
        done(error);
      },
    });
    this.on('data', (message) => {
      if (!messages.push(message)) this.#pause();
    });
    this.on('end', () => messages.push(null));
    this.on('error', (error) => messages.destroy(error));
    return messages[Symbol.asyncIterator]();
  }

  headers(headers: readonly Header[]): void {
    this.#status.take(headers);
  }

  data(payload: Buffer): void {
    if (this.#status.isForeign) return;
    try {
      this.#reader.push(payload);
    } catch (error) {
      if (!(error instanceof GrpcError)) throw error;
      this.#stream?.reset(ERROR_CODE.cancel);
      this.#finish(error);
    }
  }

  drained(): void {
    this.emit('drain');
  }

  closed(end: StreamEnd): void {
    this.#finish(this.#status.after(end));
  }

  #finish(failure: GrpcError | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (failure === undefined) this.emit('end');
    else this.emit('error', failure);
    this.emit('close');
  }

  #pause(): void {
    this.#isPaused = true;
    this.#stream?.pause();
  }

  #resume(): void {
    this.#isPaused = false;
    this.#stream?.resume();
  }
}
