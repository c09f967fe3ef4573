import type { Method } from '../../model/component.ts';
import type { Asker, DoorCall } from '../calls.ts';
import { namesOf, type Peer } from '../peer.ts';
import type { DoorRequest, Exchange } from './exchange.ts';
import { requestMetadata } from './metadata-headers.ts';

/** A request's call of `method`; its deadline begins to count. Throws HttpFailure 400 for headers that cannot be read. */
export function doorCall(exchange: Exchange, method: Method): DoorCall {
  const deadline = exchange.startDeadline();
  return {
    method,
    ...asker(exchange),
    signal: exchange.signal,
    ...(deadline === undefined ? {} : { deadline }),
  };
}

/** Who sent a request, and what with it. */
export function asker({ request }: Exchange): Asker {
  return { peer: peerOf(request.socket), metadata: requestMetadata(request.rawHeaders) };
}

function peerOf(socket: DoorRequest['socket']): Peer {
  const address = socket.remoteAddress;
  // Only of a certificate that was verified.
  return 'authorized' in socket && socket.authorized
    ? { address, names: namesOf(socket.getPeerCertificate()) }
    : { address };
}
