/**
 * What a record's content type makes of its value:
 * - `protobuf`: also where there is no content type;
 * - `json`: `application/json` and `…+json`;
 * - `text`: `text/…`;
 * - `bytes`: `application/octet-stream`, which many producers set whatever they send;
 * - `structured`: a CloudEvent in structured or batched mode, attributes and data in one document;
 * - `other`: anything else.
 */
export type ContentKind = 'protobuf' | 'json' | 'text' | 'bytes' | 'structured' | 'other';

const PROTOBUF: ReadonlySet<string> = new Set([
  '',
  'application/protobuf',
  'application/x-protobuf',
  'application/vnd.google.protobuf',
  'application/grpc',
  'application/grpc+proto',
]);

/** Parameters (`; charset=utf-8`) and case do not matter. */
export function contentKind(contentType: string | undefined): ContentKind {
  if (contentType === undefined) return 'protobuf';
  const parameters = contentType.indexOf(';');
  const mediaType = (parameters < 0 ? contentType : contentType.slice(0, parameters)).trim().toLowerCase();
  if (PROTOBUF.has(mediaType)) return 'protobuf';
  if (mediaType === 'application/json') return 'json';
  if (mediaType.startsWith('application/cloudevents')) return 'structured';
  if (mediaType.endsWith('+json')) return 'json';
  if (mediaType.startsWith('text/')) return 'text';
  return mediaType === 'application/octet-stream' ? 'bytes' : 'other';
}
