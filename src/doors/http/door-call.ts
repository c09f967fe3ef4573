import type { Method } from '../../model/component.ts';
import type { DoorCall } from '../calls.ts';
import type { Exchange } from './exchange.ts';
import { requestMetadata } from './metadata-headers.ts';

/** A request's call of `method`; its deadline begins to count. Throws HttpFailure 400 for headers that cannot be read. */
export function doorCall(exchange: Exchange, method: Method): DoorCall {
  const deadline = exchange.startDeadline();
  return {
    method,
    peer: { address: exchange.request.socket.remoteAddress },
    metadata: requestMetadata(exchange.request.rawHeaders),
    signal: exchange.signal,
    ...(deadline === undefined ? {} : { deadline }),
  };
}
