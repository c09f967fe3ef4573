/** The peer sent what HTTP/2 or HPACK does not allow: the connection cannot go on. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}
