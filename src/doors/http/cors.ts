import type { DoorRequest } from './exchange.ts';
import { isFieldName } from './header-text.ts';

/** Which web pages may call the door from a browser, and what they may do. */
export interface CorsOptions {
  /** Origins as browsers send them, `https://shop.example`; `*` is any. None: no such page may. */
  readonly origins: readonly string[];
  /** Request headers that they may send; absent: all that they ask for. */
  readonly allowedHeaders?: readonly string[];
  /** Seconds that a browser may keep a preflight's answer; absent: 600. */
  readonly maxAgeSeconds?: number;
}

const MAX_AGE_SECONDS = 600;

/** What gRPC-Web clients read, besides the few headers that every page may. */
const EXPOSED = 'grpc-status, grpc-message';

export interface Cors {
  /** The headers of every answer to this request; none where its page may not call the door. */
  headers(request: DoorRequest): Readonly<Record<string, string>>;
  /**
   * The headers of the answer to a preflight; undefined where the request is none. `verbs` are those of its path.
   */
  preflight(request: DoorRequest, verbs: () => readonly string[]): Readonly<Record<string, string>> | undefined;
}

/**
 * The browsers' cross-origin rules, by configuration. Cookies and passwords of a browser are never let through: a page
 * that wants to be known sends a header of its own.
 */
export function createCors(options: CorsOptions): Cors {
  const { origins, allowedHeaders, maxAgeSeconds = MAX_AGE_SECONDS } = options;
  const any = origins.includes('*');
  const allowed = new Set(origins);

  const headers = ({ headers: given }: DoorRequest): Readonly<Record<string, string>> => {
    if (origins.length === 0) return {};
    const { origin } = given;
    // Caches must keep the answers for different pages apart, also those for none.
    const vary = any ? {} : { vary: 'Origin' };
    if (typeof origin !== 'string' || !(any || allowed.has(origin))) return vary;
    return {
      ...vary,
      'access-control-allow-origin': any ? '*' : origin,
      'access-control-expose-headers': EXPOSED,
    };
  };
  return {
    headers,
    preflight(request, verbs) {
      const asked = request.headers['access-control-request-method'];
      if (request.method !== 'OPTIONS' || request.headers.origin === undefined || asked === undefined) return undefined;
      const base = headers(request);
      if (base['access-control-allow-origin'] === undefined) return base;
      const methods = verbs();
      const names = allowedHeaders ?? askedHeaders(request);
      return {
        ...base,
        'access-control-max-age': String(maxAgeSeconds),
        ...(methods.length === 0 ? {} : { 'access-control-allow-methods': methods.join(', ') }),
        ...(names.length === 0 ? {} : { 'access-control-allow-headers': names.join(', ') }),
      };
    },
  };
}

function askedHeaders({ headers }: DoorRequest): readonly string[] {
  return String(headers['access-control-request-headers'] ?? '')
    .split(',')
    .map((name) => name.trim().toLowerCase())
    .filter(isFieldName);
}
