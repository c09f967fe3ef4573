import { HttpFailure } from '../../../src/doors/http/http-failure.ts';
import { type ErrorCode, StateferryError } from '../../../src/errors.ts';

/** A failure of ours with one of these codes. */
export function hasCode(...codes: readonly ErrorCode[]): (error: unknown) => boolean {
  return (error) => error instanceof StateferryError && codes.includes(error.code);
}

/** A failure of ours that only gives the message up. */
export function isReject(error: unknown): boolean {
  return error instanceof StateferryError && error.fate === 'reject';
}

/** A request that a door refuses. */
export function isRefusedRequest(error: unknown): boolean {
  return error instanceof HttpFailure && error.httpStatus >= 400 && error.httpStatus < 502;
}
