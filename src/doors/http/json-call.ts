import { status } from '@grpc/grpc-js';
import type { Descriptors } from '../../protocol/descriptors.ts';
import { CallFailure, type Calls, type DoorReply } from '../calls.ts';
import { failureAnswer, send, tellable } from './answer.ts';
import { type BodyLimits, readBody, readLines } from './body.ts';
import { doorCall } from './door-call.ts';
import { type Exchange, whileWanted } from './exchange.ts';
import { mediaType } from './header-text.ts';
import { badRequest, quoted } from './http-failure.ts';
import { askedStatus } from './metadata-headers.ts';
import { createRequestReader, isRaw, type RequestReader } from './request.ts';
import { createReplyWriter, type ReplyWriter } from './response.ts';
import type { Match } from './router.ts';
import { sendStream } from './stream.ts';

/** The content type of a streamed input: one JSON message a line. */
const LINES = 'application/x-ndjson';

/**
 * Carries one HTTP/JSON request out: reads it by the rule that it goes by, calls the method, and answers. Throws nothing;
 * `onError` is told what should not have happened.
 */
export async function answerJson(options: {
  readonly exchange: Exchange;
  readonly match: Match;
  /** Raw, without the question mark. */
  readonly query: string;
  readonly calls: Calls;
  readonly descriptors: Descriptors;
  readonly limits: BodyLimits & { readonly maxJsonDepth: number };
  readonly onError: (error: unknown) => void;
}): Promise<void> {
  const { exchange, match, calls, descriptors, limits, onError } = options;
  const { rule } = match;
  const { method } = rule;
  try {
    const writer = createReplyWriter(rule, descriptors);
    const call = doorCall(exchange, method);
    // Nothing of the request is judged before its caller is.
    const reader = (): RequestReader =>
      createRequestReader({ match, query: options.query, descriptors, maxJsonDepth: limits.maxJsonDepth });
    const message = async (): Promise<Uint8Array> => {
      const { message: read } = reader();
      return read(await wholeBody(exchange, match, limits));
    };
    if (!method.clientStreaming && !method.serverStreaming) {
      sendReply(exchange, writer, await whileWanted(calls.unary(call, message), exchange.signal));
      return;
    }
    const input =
      method.clientStreaming && rule.body !== 'none'
        ? remembered(() => lines(exchange, match, reader(), limits.maxMessageBytes))
        : remembered(() => once(message));
    const replies = calls.streamed(call, input.messages);
    if (method.serverStreaming) await sendStream({ exchange, writer, replies, inputFault: input.fault, onError });
    else sendReply(exchange, writer, await onlyReply(replies, exchange.signal, input.fault));
  } catch (error) {
    const failure = tellable(error);
    if (failure !== error) onError(error);
    send(exchange, failureAnswer(failure));
  }
}

function sendReply(exchange: Exchange, writer: ReplyWriter, reply: DoorReply): void {
  const { contentType, body } = writer.render(reply.payload.value);
  send(exchange, { httpStatus: askedStatus(reply.metadata) ?? 200, metadata: reply.metadata, contentType, body });
}

async function wholeBody(exchange: Exchange, { rule }: Match, limits: BodyLimits) {
  const contentType = contentTypeOf(exchange);
  // A body that no field takes is passed over unread, however long it is.
  const bytes = rule.body === 'none' ? Buffer.alloc(0) : await readBody(exchange, limits);
  return { contentType, bytes };
}

function contentTypeOf({ request }: Exchange): string | undefined {
  const contentType = request.headers['content-type'];
  return typeof contentType === 'string' ? contentType : undefined;
}

/** What goes into a streamed call, and why it ended early where it did: the call itself only says that it was cancelled. */
interface Input {
  readonly messages: AsyncIterable<Uint8Array>;
  readonly fault: () => unknown;
}

function remembered(source: () => AsyncIterable<Uint8Array>): Input {
  let fault: unknown;
  const messages = async function* (): AsyncGenerator<Uint8Array, void> {
    try {
      yield* source();
    } catch (error) {
      fault = error;
      throw error;
    }
  };
  return { messages: messages(), fault: () => fault };
}

async function* once(message: () => Promise<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  yield await message();
}

/** A message for each line of the body, each with the fields of path and query. */
async function* lines(
  exchange: Exchange,
  { rule }: Match,
  reader: RequestReader,
  limitBytes: number,
): AsyncGenerator<Uint8Array, void> {
  const contentType = contentTypeOf(exchange);
  const wrongType = () =>
    badRequest(
      `The content type ${quoted(contentType ?? '')} is not the one of a streamed input; send ${LINES}, one JSON message a line.`,
    );
  if (isRaw(rule) || (contentType !== undefined && mediaType(contentType).type !== LINES)) throw wrongType();
  for await (const bytes of readLines(exchange, limitBytes)) {
    // Only now: a request without a body needs no content type.
    if (contentType === undefined) throw wrongType();
    yield reader.message({ contentType: 'application/json', bytes });
  }
}

/** The one reply of a method that streams in only. */
async function onlyReply(
  replies: AsyncIterable<DoorReply>,
  signal: AbortSignal,
  inputFault: () => unknown,
): Promise<DoorReply> {
  const iterator = replies[Symbol.asyncIterator]();
  try {
    const first = await whileWanted(iterator.next(), signal);
    if (first.done !== true) return first.value;
  } catch (error) {
    throw inputFault() ?? error;
  } finally {
    // The answer is there, or nobody wants it any more; what the end of the call says is of no one's concern.
    void Promise.resolve(iterator.return?.()).catch(() => undefined);
  }
  throw new CallFailure(status.INTERNAL, 'The call ended without an answer.');
}
