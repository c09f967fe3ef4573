import { once } from 'node:events';
import type { DoorReply } from '../calls.ts';
import { failureAnswer, hasBody, send, tellable, toBytes, writeHead } from './answer.ts';
import { type DoorResponse, type Exchange, iterateWhileWanted, whileWanted } from './exchange.ts';
import { askedStatus } from './metadata-headers.ts';
import type { ReplyWriter } from './response.ts';

/** How the messages of one streamed answer are told apart. */
interface Framing {
  readonly contentType: string | undefined;
  message(body: Uint8Array | string): Uint8Array | string;
  /** What says inside the body that the call failed; absent: the body is broken off. */
  failure?(code: number, message: string): string;
}

const EVENTS: Framing = {
  contentType: 'text/event-stream',
  message: (body) => `data: ${body}\n\n`,
  failure: (code, message) => `event: error\ndata: ${JSON.stringify({ code, message })}\n\n`,
};

const LINES: Framing = { contentType: 'application/x-ndjson', message: (body) => `${body}\n` };

const RAW: Framing = { contentType: undefined, message: (body) => body };

/**
 * Sends a streamed answer, a message at a time as they come: server-sent events where the caller accepts them, else
 * newline-delimited JSON; the chunks of `google.api.HttpBody` as they are, under the first one's content type. Status and
 * headers go by the first message. The next message is asked for when the caller has taken the last one.
 *
 * A failure before the first message is an answer of its own. Later, server-sent events end with an `error` event of code
 * and message; any other body is broken off with its connection, so that no part is taken for the whole.
 */
export async function sendStream(options: {
  readonly exchange: Exchange;
  readonly writer: ReplyWriter;
  readonly replies: AsyncIterable<DoorReply>;
  /** Why the call's input ended early, which is then the failure of the call. */
  readonly inputFault: () => unknown;
  readonly onError: (error: unknown) => void;
}): Promise<void> {
  const { exchange, writer, replies, inputFault, onError } = options;
  const { response } = exchange;
  const framing = writer.raw ? RAW : acceptsEvents(exchange) ? EVENTS : LINES;
  try {
    for await (const { payload, metadata } of iterateWhileWanted(replies, exchange.signal)) {
      const { contentType, body } = writer.render(payload.value);
      if (!response.headersSent) {
        const head = {
          httpStatus: askedStatus(metadata) ?? 200,
          metadata,
          headers: { 'cache-control': 'no-cache' },
          contentType: framing.contentType ?? contentType,
        };
        if (!hasBody(exchange, head.httpStatus)) {
          send(exchange, head);
          return;
        }
        writeHead(response, head);
      }
      await write(exchange, framing.message(body));
    }
    if (response.headersSent) response.end();
    else
      send(exchange, {
        httpStatus: 200,
        ...(framing.contentType === undefined ? {} : { contentType: framing.contentType }),
      });
  } catch (thrown) {
    const error = inputFault() ?? thrown;
    const failure = tellable(error);
    if (failure !== error) onError(error);
    if (exchange.isGone()) return;
    if (!response.headersSent) send(exchange, failureAnswer(failure));
    else if (framing.failure !== undefined) response.end(framing.failure(failure.code, failure.message));
    else response.destroy(failure);
  }
}

function acceptsEvents({ request }: Exchange): boolean {
  return String(request.headers.accept ?? '')
    .split(',')
    .some((range) => range.split(';', 1)[0]?.trim().toLowerCase() === 'text/event-stream');
}

/** Writes, and waits until the caller has taken enough of it. Throws the signal's reason when it is gone or has no time left. */
export async function write(
  { response, signal }: { response: DoorResponse; signal: AbortSignal },
  chunk: Uint8Array | string,
): Promise<void> {
  if (signal.aborted) throw signal.reason;
  if (!response.write(toBytes(chunk))) await whileWanted(once(response, 'drain'), signal);
}
