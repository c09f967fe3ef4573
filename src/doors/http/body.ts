import { status } from '@grpc/grpc-js';
import { CallFailure } from '../calls.ts';
import type { DoorRequest, Exchange } from './exchange.ts';
import { badRequest, HttpFailure, quoted, tooLarge, tooSlow } from './http-failure.ts';

const NEWLINE = 0x0a;

/** What the body of one message may be. */
export interface BodyLimits {
  /** Bytes of it. */
  readonly maxMessageBytes: number;
  /** How long it may take to come, in ms. */
  readonly bodyMs: number;
}

/**
 * The whole body of a request. Throws HttpFailure 413 as soon as it is known to be longer than it may be, 408 when its end
 * has not come in time, 415 for one that is compressed, and the signal's reason when the caller is gone or its deadline
 * has passed.
 */
export async function readBody(exchange: Exchange, { maxMessageBytes, bodyMs }: BodyLimits): Promise<Buffer> {
  const announced = exchange.request.headers['content-length'];
  if (typeof announced === 'string' && Number(announced) > maxMessageBytes) throw tooLarge('The body', maxMessageBytes);
  const late = new AbortController();
  const timer = setTimeout(() => {
    // Nobody waits for the rest of it.
    exchange.response.once('finish', () => exchange.request.destroy());
    late.abort(tooSlow(bodyMs));
  }, bodyMs);
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of chunksOf(exchange, AbortSignal.any([exchange.signal, late.signal]))) {
      length += chunk.length;
      if (length > maxMessageBytes) throw tooLarge('The body', maxMessageBytes);
      chunks.push(chunk);
    }
  } finally {
    clearTimeout(timer);
  }
  return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, length);
}

/**
 * The lines of a request's body as they come, without their ends; blank lines are passed over, and the last one may lack
 * its end. Not more than one line is held. Throws as `readBody`, the limit being that of one line.
 */
export async function* readLines(exchange: Exchange, limitBytes: number): AsyncGenerator<Buffer, void> {
  let held: Buffer[] = [];
  let length = 0;
  const take = (): Buffer => {
    const line = Buffer.concat(held, length);
    held = [];
    length = 0;
    return line;
  };
  for await (const chunk of chunksOf(exchange, exchange.signal)) {
    let from = 0;
    while (from < chunk.length) {
      const newline = chunk.indexOf(NEWLINE, from);
      const part = chunk.subarray(from, newline < 0 ? chunk.length : newline);
      length += part.length;
      if (length > limitBytes) throw tooLarge('A line of the body', limitBytes);
      held.push(part);
      if (newline < 0) break;
      from = newline + 1;
      const line = take();
      if (!isBlank(line)) yield line;
    }
  }
  const line = take();
  if (!isBlank(line)) yield line;
}

function isBlank(line: Buffer): boolean {
  return line.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d);
}

/** How reading a body stands; `open` alone is followed by another. */
type BodyState = 'open' | 'ended' | 'broken' | 'answered' | 'unwanted';

function stateAtFirst(request: DoorRequest, signal: AbortSignal): BodyState {
  if (signal.aborted) return 'unwanted';
  if (request.readableEnded) return 'ended';
  return request.destroyed ? 'broken' : 'open';
}

/**
 * The body as it arrives, never more than a chunk ahead. When the iteration ends, or the response has gone out, what is
 * left of the body is dropped as it comes, so that the connection can go on to another request.
 */
async function* chunksOf({ request, response }: Exchange, signal: AbortSignal): AsyncGenerator<Buffer, void> {
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') {
    throw new HttpFailure(
      415,
      status.UNIMPLEMENTED,
      `The body has the content encoding ${quoted(String(encoding))}; send it as it is, uncompressed.`,
      { headers: { 'accept-encoding': 'identity' } },
    );
  }
  const waiting: Buffer[] = [];
  let state = stateAtFirst(request, signal);
  const now = (): BodyState => state;
  let wake = (): void => undefined;
  const become = (next: BodyState) => (): void => {
    if (state === 'open') state = next;
    wake();
  };
  const onData = (chunk: Buffer): void => {
    waiting.push(chunk);
    request.pause();
    wake();
  };
  const [onEnd, onBroken, onAnswered, onAbort] = [
    become('ended'),
    become('broken'),
    become('answered'),
    become('unwanted'),
  ];
  const release = (): void => {
    request.off('data', onData).off('end', onEnd).off('close', onBroken);
    response.off('finish', release).off('finish', onAnswered);
    signal.removeEventListener('abort', onAbort);
    request.resume();
  };
  request.on('data', onData).on('end', onEnd).on('close', onBroken);
  response.on('finish', onAnswered).on('finish', release);
  signal.addEventListener('abort', onAbort);
  try {
    while (true) {
      switch (now()) {
        case 'unwanted':
          throw signal.reason;
        case 'broken':
          throw badRequest('The body could not be read to its end; send it again.');
        case 'answered':
          throw new CallFailure(status.CANCELLED, 'The call has been answered; no more of its input is taken.');
      }
      const chunk = waiting.shift();
      if (chunk !== undefined) yield chunk;
      else if (now() === 'ended') return;
      else {
        const more = new Promise<void>((resolve) => {
          wake = resolve;
        });
        request.resume();
        await more;
      }
    }
  } finally {
    release();
  }
}
