import { status } from '@grpc/grpc-js';
import { createWellFormed } from '../../codec/well-formed.ts';
import { messageOf, StateferryError } from '../../errors.ts';
import { type Metadata, NO_METADATA } from '../../model/payload.ts';
import { CallFailure, type Calls, type DoorCall, type DoorReply } from '../calls.ts';
import type { Services } from '../services.ts';
import { tellable, writeHead } from './answer.ts';
import { type BodyLimits, readBody } from './body.ts';
import { doorCall } from './door-call.ts';
import { type DoorRequest, type Exchange, iterateWhileWanted, whileWanted } from './exchange.ts';
import { decodeText, FRAME_HEAD_BYTES, messageFrame, readOneFrame, trailersFrame } from './grpc-web-frames.ts';
import { mediaType } from './header-text.ts';
import { badRequest, HttpFailure, quoted } from './http-failure.ts';
import { write } from './stream.ts';

const BINARY: ReadonlySet<string> = new Set(['application/grpc-web', 'application/grpc-web+proto']);
const TEXT: ReadonlySet<string> = new Set(['application/grpc-web-text', 'application/grpc-web-text+proto']);

/** Is this a request of a gRPC-Web client? */
export function isGrpcWeb({ method, headers }: DoorRequest): boolean {
  const contentType = headers['content-type'];
  const { type } = mediaType(typeof contentType === 'string' ? contentType : undefined);
  return method === 'POST' && (BINARY.has(type) || TEXT.has(type));
}

/**
 * Carries one gRPC-Web request out: methods that take one message, by `POST /<package.Service>/<Method>`, binary or in
 * base64. The HTTP status is always 200; how the call went is in the trailers at the end of the body, with the metadata
 * of the first reply, or of the failure. Throws nothing; `onError` is told what should not have happened.
 */
export async function answerGrpcWeb(options: {
  readonly exchange: Exchange;
  readonly path: string;
  readonly services: Services | undefined;
  readonly calls: Calls;
  readonly limits: BodyLimits;
  readonly onError: (error: unknown) => void;
}): Promise<void> {
  const { exchange, calls, limits, onError } = options;
  const { request, response } = exchange;
  const contentType = String(request.headers['content-type']);
  const isText = TEXT.has(mediaType(contentType).type);
  const encoded = (frame: Buffer): Uint8Array | string => (isText ? frame.toString('base64') : frame);
  const begin = (): void => {
    if (!response.headersSent) writeHead(response, { httpStatus: 200, contentType });
  };
  const end = (code: status, message: string, metadata: Metadata): void => {
    request.resume();
    if (exchange.isGone()) return;
    begin();
    response.end(encoded(trailersFrame(code, message, metadata)));
  };

  try {
    const { method, check } = callable(options.services, options.path);
    const call = doorCall(exchange, method);
    const framed = limits.maxMessageBytes + FRAME_HEAD_BYTES;
    // Base64 takes four characters for three bytes, and each of its parts may be padded.
    const maxMessageBytes = isText ? Math.ceil(framed / 3) * 4 + 8 : framed;
    const input = async (): Promise<Uint8Array> => {
      const body = await readBody(exchange, { ...limits, maxMessageBytes });
      const message = readOneFrame(isText ? decodeText(body) : body, limits.maxMessageBytes);
      check(message);
      return message;
    };
    let metadata: Metadata | undefined;
    for await (const reply of repliesOf(calls, call, input)) {
      metadata ??= reply.metadata;
      begin();
      await write(exchange, encoded(messageFrame(reply.payload.value)));
    }
    end(status.OK, '', metadata ?? NO_METADATA);
  } catch (error) {
    const failure = tellable(error);
    if (failure !== error) onError(error);
    end(failure.code, failure.message, failure instanceof CallFailure ? failure.metadata : NO_METADATA);
  }
}

async function* repliesOf(
  calls: Calls,
  call: DoorCall,
  input: () => Promise<Uint8Array>,
): AsyncGenerator<DoorReply, void> {
  if (!call.method.serverStreaming) {
    yield await whileWanted(calls.unary(call, input), call.signal);
    return;
  }
  let fault: unknown;
  const messages = async function* () {
    try {
      yield await input();
    } catch (error) {
      fault = error;
      throw error;
    }
  };
  try {
    yield* iterateWhileWanted(calls.streamed(call, messages()), call.signal);
  } catch (error) {
    // The call itself only says that it was cancelled.
    throw fault ?? error;
  }
}

const checks = new WeakMap<Services, ReturnType<typeof createWellFormed>>();

/** The method at a path, with a check of its input's bytes. Throws HttpFailure. */
function callable(services: Services | undefined, path: string) {
  if (services === undefined) {
    throw new HttpFailure(503, status.UNAVAILABLE, 'The function is not known yet; try again in a moment.');
  }
  const [, service = '', name = '', ...rest] = path.split('/');
  const method = rest.length > 0 ? undefined : services.components.get(service)?.methods.get(name);
  const type = method === undefined ? undefined : services.descriptors.registry.getMessage(method.inputType);
  if (method === undefined || type === undefined) {
    throw new HttpFailure(404, status.UNIMPLEMENTED, `No method of the function is at ${quoted(path)}.`);
  }
  if (method.clientStreaming) {
    throw new HttpFailure(
      501,
      status.UNIMPLEMENTED,
      `${service}.${name} streams in, which gRPC-Web cannot; call it by gRPC, or over HTTP with lines of JSON.`,
    );
  }
  const wellFormed = checks.get(services) ?? createWellFormed();
  checks.set(services, wellFormed);
  const check = (bytes: Uint8Array): void => {
    try {
      wellFormed(type)(bytes);
    } catch (cause) {
      if (!(cause instanceof StateferryError)) throw cause;
      throw badRequest(messageOf(cause), cause);
    }
  };
  return { method, check };
}
