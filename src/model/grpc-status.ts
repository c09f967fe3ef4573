import type { ErrorCode, StateferryError } from '../errors.ts';

/** google.rpc.Code of what can go wrong with a command; what is not here is UNKNOWN. */
const STATUS: Partial<Record<ErrorCode, number>> = {
  RECORD_UNDECODABLE: 3,
  RECORD_UNKNOWN_TYPE: 3,
  RECORD_NO_ENTITY_ID: 3,
  FUNCTION_TIMEOUT: 4,
  COMMAND_REPEATED: 6,
  RECORD_OVERSIZE: 8,
  SKIPPED_BY_OPERATOR: 10,
  CALL_UNKNOWN_TARGET: 12,
  FUNCTION_BROKEN_REPLY: 13,
  FUNCTION_LOST: 14,
};
const UNKNOWN = 2;

/** The gRPC status that a caller is told of a failure: the function's own, where it gave one. */
export function statusOf(error: StateferryError): number {
  return error.grpcStatus ?? STATUS[error.code] ?? UNKNOWN;
}
