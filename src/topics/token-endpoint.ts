import http from 'node:http';
import https from 'node:https';
import { messageOf } from '../errors.ts';
import { type ClientTls, type TlsOptions, tlsTrouble } from '../secure.ts';

/** A token that says nothing of its end is asked for again after so long, in ms. */
const UNKNOWN_LIFE_MS = 60_000;
/** Of a token's life, what is left unused at least, in ms: kafkajs shows a new one up to 10 s before a session ends. */
const MARGIN_MS = 15_000;
const MARGIN_SHARE = 0.2;
/** After a failure nobody is asked for so long, and twice as long after each further one, in ms. */
const FAILURE_MIN_MS = 1_000;
const FAILURE_MAX_MS = 30_000;
const MAX_ANSWER_BYTES = 64 * 1024;
const TLS_OPTIONS: TlsOptions = {
  caFile: 'kafka.sasl.caFile',
  without: 'begin kafka.sasl.tokenUrl with http',
};

export interface TokenEndpoint {
  readonly url: URL;
  readonly clientId: string;
  readonly clientSecret: () => string;
  readonly scope?: string | undefined;
  /** Counts where the URL begins with https. */
  readonly tls: ClientTls;
  readonly timeoutMs: number;
}

/**
 * Tokens by client credentials (RFC 6749, 4.4). One is asked for at a time, kept for most of its life, and given to everybody
 * meanwhile; after a failure everybody gets that failure until it is time to try again.
 */
export function tokensFrom(endpoint: TokenEndpoint): () => Promise<string> {
  let asking: Promise<string> | undefined;
  let kept: { readonly token: string; readonly until: number } | undefined;
  let failed: { readonly error: Error; readonly until: number } | undefined;
  let pauseMs = FAILURE_MIN_MS;

  const renew = async (): Promise<string> => {
    try {
      const { token, lifeMs } = await askForToken(endpoint);
      kept = { token, until: Date.now() + lifeMs - Math.max(MARGIN_MS, lifeMs * MARGIN_SHARE) };
      pauseMs = FAILURE_MIN_MS;
      failed = undefined;
      return token;
    } catch (cause) {
      const error = new Error(`no token from ${endpoint.url.href}: ${messageOf(cause)}`, { cause });
      failed = { error, until: Date.now() + pauseMs };
      pauseMs = Math.min(pauseMs * 2, FAILURE_MAX_MS);
      throw error;
    } finally {
      asking = undefined;
    }
  };
  return async () => {
    if (kept !== undefined && Date.now() < kept.until) return kept.token;
    if (failed !== undefined && Date.now() < failed.until) throw failed.error;
    asking ??= renew();
    return asking;
  };
}

async function askForToken(endpoint: TokenEndpoint): Promise<{ token: string; lifeMs: number }> {
  const { status, text } = await post(endpoint);
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    answer = undefined;
  }
  const fields = (typeof answer === 'object' && answer !== null ? answer : {}) as Readonly<Record<string, unknown>>;
  if (status !== 200) {
    // RFC 6749, 5.2. Nothing else of the answer is shown: it may hold what was sent.
    const why = typeof fields.error === 'string' ? ` (${fields.error.slice(0, 100)})` : '';
    throw new Error(
      `it answers ${status}${why}; check kafka.sasl.tokenUrl, clientId and the secret, and what the endpoint grants`,
    );
  }
  if (typeof fields.access_token !== 'string' || fields.access_token === '') {
    throw new Error('its answer has no access_token; check that kafka.sasl.tokenUrl is a token endpoint');
  }
  const seconds = Number(fields.expires_in);
  return {
    token: fields.access_token,
    lifeMs: Number.isFinite(seconds) && seconds > 0 ? seconds * 1_000 : UNKNOWN_LIFE_MS,
  };
}

function post({ url, clientId, clientSecret, scope, tls, timeoutMs }: TokenEndpoint) {
  const isSecure = url.protocol === 'https:';
  const body = new URLSearchParams({
    grant_type: 'client_credentials',
    ...(scope !== undefined && { scope }),
  }).toString();
  // RFC 6749, 2.3.1: both are form-encoded first.
  const encoded = (text: string): string => new URLSearchParams({ '': text }).toString().slice(1);
  const basic = Buffer.from(`${encoded(clientId)}:${encoded(clientSecret())}`).toString('base64');
  return new Promise<{ status: number; text: string }>((resolve, reject) => {
    const request = (isSecure ? https : http).request(url, {
      method: 'POST',
      headers: {
        authorization: `Basic ${basic}`,
        'content-type': 'application/x-www-form-urlencoded',
        'content-length': Buffer.byteLength(body),
        accept: 'application/json',
      },
      signal: AbortSignal.timeout(timeoutMs),
      agent: false,
      ...(isSecure && tls()),
    });
    const fail = (error: Error): void => {
      if (error.name === 'TimeoutError') reject(new Error(`it has not answered in ${timeoutMs} ms`));
      else reject(new Error(tlsTrouble(error, TLS_OPTIONS) ?? messageOf(error), { cause: error }));
    };
    request.on('error', fail);
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('error', fail);
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > MAX_ANSWER_BYTES) request.destroy(new Error(`its answer has more than ${MAX_ANSWER_BYTES} bytes`));
        else chunks.push(chunk);
      });
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
      );
    });
    request.end(body);
  });
}
