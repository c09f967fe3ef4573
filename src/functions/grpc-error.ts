import { status } from '@grpc/grpc-js';

/** How a call to the function failed: `code` is gRPC's status, `details` its sentence. */
export class GrpcError extends Error {
  override readonly name = 'GrpcError';
  readonly code: status;
  readonly details: string;

  constructor(code: status, details: string) {
    super(`${code} ${status[code]}: ${details}`);
    this.code = code;
    this.details = details;
  }
}
