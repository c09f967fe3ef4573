import type { DescMessage } from '@bufbuild/protobuf';
import { exactIntegers } from '../../codec/exact-integers.ts';
import { utf8Text } from '../../codec/utf8.ts';
import { messageOf } from '../../errors.ts';
import { badRequest } from './http-failure.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * A request's body as JSON text that a protobuf reader of `type` can be given: it is UTF-8, it is JSON, nothing in
 * it nests deeper than `maxDepth`, and integers beyond 2^53 are exact (`exactIntegers`).
 *
 * Throws HttpFailure 400.
 */
export function checkedJson(bytes: Uint8Array, type: DescMessage, maxDepth: number): string {
  const text = utf8Text(bytes);
  if (text === undefined) throw badRequest('The body is not UTF-8 text; send JSON in UTF-8.');
  checkDepth(text, maxDepth);
  try {
    JSON.parse(text);
  } catch (cause) {
    throw badRequest(`The body is not JSON: ${messageOf(cause)}.`, cause);
  }
  return exactIntegers(text, type, (integer) =>
    badRequest(`The body has the number ${integer}, which JSON numbers do not hold exactly; write it in quotes.`),
  );
}

/** Of text that is not JSON it may think anything; the parser refuses it. */
function checkDepth(text: string, maxDepth: number): void {
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = stringEnd(text, at);
    } else if (code === 0x7b || code === 0x5b) {
      depth += 1;
      if (depth > maxDepth) throw badRequest(`The body nests deeper than the ${maxDepth} levels that are taken here.`);
    } else if (code === 0x7d || code === 0x5d) {
      depth -= 1;
    }
  }
}

/** Position of the quote that ends the string that begins at `at`. */
function stringEnd(text: string, at: number): number {
  for (let end = at + 1; end < text.length; end += 1) {
    const code = text.charCodeAt(end);
    if (code === QUOTE) return end;
    if (code === BACKSLASH) end += 1;
  }
  return text.length;
}
