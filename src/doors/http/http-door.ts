import { status } from '@grpc/grpc-js';
import { messageOf } from '../../errors.ts';
import type { Calls } from '../calls.ts';
import type { Services } from '../services.ts';
import { type Answer, failureAnswer, send, tellable } from './answer.ts';
import { type CorsOptions, createCors } from './cors.ts';
import { asker } from './door-call.ts';
import { type DoorRequest, type DoorResponse, type Exchange, openExchange } from './exchange.ts';
import { answerGrpcWeb, isGrpcWeb } from './grpc-web.ts';
import { HttpFailure } from './http-failure.ts';
import { readHttpRules } from './http-rules.ts';
import { answerJson } from './json-call.ts';
import { openApiDocument } from './openapi.ts';
import { createRouter, type Router } from './router.ts';

/** Where the door's own description of the services is, unless a method of the function is there. */
const OPENAPI_PATH = '/openapi.json';

/** Seconds after which a caller is told to try again while the function is not known. */
const RETRY_AFTER_SECONDS = 1;

export interface HttpDoorOptions {
  readonly calls: Calls;
  /** What the function offers now; undefined: it is not known yet. The same services must be the same object. */
  readonly services: () => Services | undefined;
  readonly limits: {
    /** Bytes of one message: of a body, or of each line of a streamed one. */
    readonly maxMessageBytes: number;
    /** How long the body of one message may take to come, in ms. */
    readonly bodyMs: number;
    /** How deep JSON may nest; 100 is what protobuf libraries take. */
    readonly maxJsonDepth: number;
  };
  readonly cors: CorsOptions;
  /** Is told about `google.api.http` annotations that are not served, and about failures that are none of a caller's. */
  readonly onFault?: (sentence: string, error?: unknown) => void;
}

/** What is made once of the services. */
interface Compiled {
  readonly router: Router;
  openApi(): string;
}

export interface HttpDoor {
  readonly listener: (request: DoorRequest, response: DoorResponse) => void;
  /** Reads the annotations of services that are new, and tells what of them is not served, before anybody calls. */
  prepare(services: Services): void;
}

/**
 * The HTTP door as a request listener, for node:http as for node:http2: HTTP/JSON by `google.api.http` and at
 * `POST /<package.Service>/<Method>`, streamed answers, gRPC-Web, cross-origin requests and the OpenAPI document.
 *
 * Every request is answered, unless its caller is gone: what goes wrong is the answer, or is told to `onFault` besides.
 */
export function createHttpDoor(options: HttpDoorOptions): HttpDoor {
  const { calls, limits } = options;
  const onFault = options.onFault ?? (() => undefined);
  const onError = (error: unknown): void =>
    onFault(`A call at the HTTP door failed inside the runtime: ${messageOf(error)}`, error);
  const cors = createCors(options.cors);
  const compiled = new WeakMap<Services, Compiled>();

  const compile = (services: Services): Compiled => {
    const known = compiled.get(services);
    if (known !== undefined) return known;
    const { rules, faults } = readHttpRules(services);
    const { router, faults: conflicts } = createRouter(rules);
    for (const fault of [...faults, ...conflicts]) onFault(fault);
    let openApi: string | undefined;
    const made: Compiled = {
      router,
      openApi: () => {
        openApi ??= JSON.stringify(openApiDocument(rules));
        return openApi;
      },
    };
    compiled.set(services, made);
    return made;
  };

  const serve = async (exchange: Exchange): Promise<void> => {
    const { request, response } = exchange;
    const { path, query } = target(request.url ?? '');
    const services = options.services();
    const preflight = cors.preflight(request, () => (services === undefined ? [] : verbsOf(compile(services), path)));
    if (preflight !== undefined) {
      send(exchange, { httpStatus: 204, headers: preflight });
      return;
    }
    for (const [name, value] of Object.entries(cors.headers(request))) response.setHeader(name, value);
    if (isGrpcWeb(request)) {
      await answerGrpcWeb({ exchange, path, services, calls, limits, onError });
      return;
    }
    if (services === undefined) throw unknownFunction();
    const made = compile(services);
    const verb = request.method ?? '';
    const own = ownAnswer(made, verb, path);
    if (own !== undefined) {
      // What is allowed on a path is told to whoever knows the path.
      if (verb !== 'OPTIONS') services.mustBeTold?.(asker(exchange));
      send(exchange, own);
      return;
    }
    const match = made.router.match(verb, path);
    await answerJson({ exchange, match, query, calls, descriptors: services.descriptors, limits, onError });
  };

  const listener: HttpDoor['listener'] = (request, response) => {
    const exchange = openExchange(request, response);
    serve(exchange)
      .catch((error: unknown) => {
        const failure = tellable(error);
        if (failure !== error) onError(error);
        if (response.headersSent) response.destroy(failure);
        else send(exchange, failureAnswer(failure));
      })
      .catch((error: unknown) => {
        onError(error);
        response.destroy();
      });
  };
  return { listener, prepare: (services) => void compile(services) };
}

function unknownFunction(): HttpFailure {
  return new HttpFailure(503, status.UNAVAILABLE, 'The function is not known yet; try again in a moment.', {
    headers: { 'retry-after': String(RETRY_AFTER_SECONDS) },
  });
}

/** What the door answers itself where no rule of the function is in its way. */
function ownAnswer({ router, openApi }: Compiled, verb: string, path: string): Answer | undefined {
  if (verb !== 'OPTIONS' && path !== OPENAPI_PATH) return undefined;
  const verbs = router.verbs(path);
  if (verbs.includes(verb) || verbs.includes('*')) return undefined;
  if (verb === 'OPTIONS' && verbs.length > 0) return { httpStatus: 204, headers: { allow: verbs.join(', ') } };
  if (path !== OPENAPI_PATH || (verb !== 'GET' && verb !== 'HEAD')) return undefined;
  return { httpStatus: 200, contentType: 'application/json', body: openApi() };
}

function verbsOf({ router }: Compiled, path: string): readonly string[] {
  const verbs = router.verbs(path);
  return path === OPENAPI_PATH && verbs.length === 0 ? ['GET', 'HEAD'] : verbs;
}

/** Path and query of a request's target; of one with scheme and host, as proxies send it, what comes after them. */
function target(url: string): { readonly path: string; readonly query: string } {
  const local = url.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?]*/i, '');
  const mark = local.indexOf('?');
  const path = mark < 0 ? local : local.slice(0, mark);
  return { path: path === '' ? '/' : path, query: mark < 0 ? '' : local.slice(mark + 1) };
}
