import { utf8Text } from '../../codec/utf8.ts';

/** RFC 9110 `token`. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Can this be the name of an HTTP header? */
export function isFieldName(text: string): boolean {
  return TOKEN.test(text);
}

/** Can this be the value of an HTTP header: printable ASCII, spaces and tabs inside, no line break that would begin another header. */
export function isFieldValue(text: string): boolean {
  return /^[\t\x20-\x7e]*$/.test(text);
}

/**
 * Text as the value of a header: what is beyond ASCII goes as its UTF-8 bytes, one character a byte, which is how Node
 * takes them. Undefined for text with control characters.
 */
export function toFieldValue(text: string): string | undefined {
  if (isFieldValue(text)) return text;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not get into a header
  if (/[\x00-\x08\x0a-\x1f\x7f]/.test(text)) return undefined;
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** The text of a header that was received: UTF-8 where its bytes are that, else one character a byte. */
export function fromFieldValue(value: string): string {
  return isFieldValue(value) ? value : (utf8Text(Buffer.from(value, 'latin1')) ?? value);
}

/** `type/subtype` of a content type in lower case, and its charset in lower case where it says one. */
export function mediaType(contentType: string | undefined): {
  readonly type: string;
  readonly charset: string | undefined;
} {
  const [type = '', ...parameters] = (contentType ?? '').split(';');
  const charset = parameters
    .map((parameter) => /^\s*charset\s*=\s*"?([^"\s]*)"?\s*$/i.exec(parameter)?.[1])
    .find((found) => found !== undefined);
  return { type: type.trim().toLowerCase(), charset: charset?.toLowerCase() };
}

/** Is the content type JSON in UTF-8: `application/json` or `application/…+json`? */
export function isJson(contentType: string | undefined): boolean {
  const { type, charset } = mediaType(contentType);
  const isUtf8 = charset === undefined || charset === 'utf-8' || charset === 'utf8' || charset === 'us-ascii';
  return isUtf8 && (type === 'application/json' || /^application\/[^/]+\+json$/.test(type));
}
