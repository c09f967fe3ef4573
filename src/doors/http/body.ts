import { status } from '@grpc/grpc-js';
import { type Exchange, iterateWhileWanted } from './exchange.ts';
import { badRequest, HttpFailure, quoted, tooLarge } from './http-failure.ts';

const NEWLINE = 0x0a;

/**
 * The whole body of a request. Throws HttpFailure 413 as soon as it is known to be longer than `limitBytes`, 415 for one
 * that is compressed, and the signal's reason when the caller is gone or its deadline has passed.
 */
export async function readBody(exchange: Exchange, limitBytes: number): Promise<Buffer> {
  const announced = exchange.request.headers['content-length'];
  if (typeof announced === 'string' && Number(announced) > limitBytes) throw tooLarge('The body', limitBytes);
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of chunksOf(exchange)) {
    length += chunk.length;
    if (length > limitBytes) throw tooLarge('The body', limitBytes);
    chunks.push(chunk);
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
  for await (const chunk of chunksOf(exchange)) {
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

/** The body as it arrives; a body that is not read to its end does not take the connection with it. */
async function* chunksOf({ request, signal }: Exchange): AsyncGenerator<Buffer, void> {
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') {
    throw new HttpFailure(
      415,
      status.UNIMPLEMENTED,
      `The body has the content encoding ${quoted(String(encoding))}; send it as it is, uncompressed.`,
      { headers: { 'accept-encoding': 'identity' } },
    );
  }
  const chunks = iterateWhileWanted<Buffer>(request.iterator({ destroyOnReturn: false }), signal);
  try {
    yield* chunks;
  } catch (cause) {
    if (signal.aborted) throw signal.reason;
    throw badRequest('The body could not be read to its end; send it again.', cause);
  }
}
