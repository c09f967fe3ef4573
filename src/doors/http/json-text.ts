import type { DescMessage } from '@bufbuild/protobuf';
import { utf8Text } from '../../codec/utf8.ts';
import { messageOf } from '../../errors.ts';
import { FREE_FORM } from './field-path.ts';
import { badRequest } from './http-failure.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const MINUS = 0x2d;
const DOT = 0x2e;
const PLUS = 0x2b;

/**
 * A request's body as JSON text that a protobuf reader of `type` can be given: it is UTF-8, it is JSON, and nothing in
 * it nests deeper than `maxDepth`.
 *
 * An integer beyond 2^53 would be rounded by a JavaScript parser; it is put into quotes, which is the same value for
 * every numeric field. Where the type can hold free-form JSON the quotes could change a value, so there it is refused.
 *
 * Throws HttpFailure 400.
 */
export function checkedJson(bytes: Uint8Array, type: DescMessage, maxDepth: number): string {
  const text = utf8Text(bytes);
  if (text === undefined) throw badRequest('The body is not UTF-8 text; send JSON in UTF-8.');
  const large = scan(text, maxDepth);
  try {
    JSON.parse(text);
  } catch (cause) {
    throw badRequest(`The body is not JSON: ${messageOf(cause)}.`, cause);
  }
  const [first] = large;
  if (first === undefined) return text;
  if (isFreeForm(type)) {
    throw badRequest(
      `The body has the integer ${text.slice(...first)}, which JSON numbers do not hold exactly; write it in quotes.`,
    );
  }
  let exact = '';
  let done = 0;
  for (const [start, end] of large) {
    exact += `${text.slice(done, start)}"${text.slice(start, end)}"`;
    done = end;
  }
  return exact + text.slice(done);
}

type Span = readonly [start: number, end: number];

/** Where integers beyond 2^53 are. Text that is not JSON may give anything; the parser refuses it. */
function scan(text: string, maxDepth: number): readonly Span[] {
  const large: Span[] = [];
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
    } else if (code === MINUS || isDigit(code)) {
      const end = numberEnd(text, at);
      const number = text.slice(at, end);
      if (number.length > 15 && /^-?[0-9]+$/.test(number) && !Number.isSafeInteger(Number(number)))
        large.push([at, end]);
      at = end - 1;
    }
  }
  return large;
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

function numberEnd(text: string, at: number): number {
  let end = at + 1;
  for (; end < text.length; end += 1) {
    const code = text.charCodeAt(end);
    if (!isDigit(code) && code !== DOT && code !== PLUS && code !== MINUS && code !== 0x65 && code !== 0x45) break;
  }
  return end;
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

const freeForm = new WeakMap<DescMessage, boolean>();

/** Does the type, or one that it has fields of, hold free-form JSON? */
function isFreeForm(type: DescMessage): boolean {
  const known = freeForm.get(type);
  if (known !== undefined) return known;
  const seen = new Set<DescMessage>();
  const visit = (message: DescMessage): boolean => {
    if (FREE_FORM.has(message.typeName)) return true;
    if (seen.has(message)) return false;
    seen.add(message);
    return message.fields.some((field) => field.message !== undefined && visit(field.message));
  };
  const found = visit(type);
  freeForm.set(type, found);
  return found;
}
