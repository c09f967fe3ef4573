import { readGrpcTimeout } from '../grpc-timeout.ts';
import { badRequest, quoted } from './http-failure.ts';

/** Headers as Node gives them. */
export type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

/**
 * How long the caller waits, in ms: `x-server-timeout` (seconds, decimals allowed) and `grpc-timeout` (gRPC's own
 * notation, `5S` for example); the shorter of the two, undefined where there is neither.
 * Throws HttpFailure 400 for a value that is no duration.
 */
export function waitMs(headers: Headers): number | undefined {
  const waits = [serverTimeout(headers['x-server-timeout']), grpcTimeout(headers['grpc-timeout'])].filter(
    (wait) => wait !== undefined,
  );
  return waits.length === 0 ? undefined : Math.min(...waits);
}

function serverTimeout(value: Headers[string]): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'string' && /^[0-9]{1,9}(?:\.[0-9]{1,9})?$/.test(value)) return Number(value) * 1_000;
  throw badRequest(
    `The header x-server-timeout is ${quoted(String(value))}; it holds a number of seconds, 2.5 for example.`,
  );
}

function grpcTimeout(value: Headers[string]): number | undefined {
  if (value === undefined) return undefined;
  const wait = readGrpcTimeout(String(value));
  if (wait !== undefined) return wait;
  throw badRequest(
    `The header grpc-timeout is ${quoted(String(value))}; it holds at most eight digits and one of H, M, S, m, u, n.`,
  );
}
