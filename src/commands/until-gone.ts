import { once } from 'node:events';
import { connect } from 'node:net';

/**
 * Resolves when what listens at `url` has gone away, at once if nothing does: an open connection tells, and asks for
 * nothing meanwhile. Also when it closes the connection by itself, or when the signal is aborted.
 */
export async function untilGone(url: URL, signal: AbortSignal): Promise<void> {
  const socket = connect({ host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || '80') });
  socket.resume();
  // A refused or reset connection is the answer.
  socket.on('error', () => undefined);
  const give = () => socket.destroy();
  signal.addEventListener('abort', give, { once: true });
  if (signal.aborted) give();
  await once(socket, 'close');
  signal.removeEventListener('abort', give);
}
