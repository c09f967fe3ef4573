import type { DescMessage } from '@bufbuild/protobuf';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** What an integer beyond 2^53 or a number beyond all has at least, and most texts have nowhere. */
const LONG = /\d{16}|[eE]\+?\d{3}/;
/** What a number may consist of, from its first character on. */
const NUMBER = /-?\d[\d.eE+-]*/y;
const INTEGER = /^-?(?:0|[1-9]\d*)$/;

/** Messages whose JSON is any JSON: nothing tells what a number in it is for. */
export const FREE_FORM: ReadonlySet<string> = new Set([
  'google.protobuf.Any',
  'google.protobuf.Struct',
  'google.protobuf.Value',
  'google.protobuf.ListValue',
]);

/**
 * JSON text for a protobuf reader of `type` that goes by JSON.parse, which rounds integers beyond 2^53: they are put into
 * quotes, which is the same value for every numeric field. Where the type can hold free-form JSON the quotes could change a
 * value; there an integer of 64 bits that would be rounded is none, and `refuse` makes the error to throw; so it does
 * for a number beyond all, which would become infinite there. Text that is no JSON stays none.
 */
export function exactIntegers(text: string, type: DescMessage, refuse: (integer: string) => Error): string {
  if (!LONG.test(text)) return text;
  let exact = '';
  let done = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      for (at++; text.charCodeAt(at) !== QUOTE && at < text.length; at++) if (text.charCodeAt(at) === BACKSLASH) at++;
      continue;
    }
    NUMBER.lastIndex = at;
    const [number] = NUMBER.exec(text) ?? [];
    if (number === undefined) continue;
    if (!Number.isFinite(Number(number)) && isFreeForm(type)) throw refuse(`${number.slice(0, 40)}…`);
    if (INTEGER.test(number) && !Number.isSafeInteger(Number(number)) && !(isFreeForm(type) && isKept(number))) {
      if (isFreeForm(type)) throw refuse(number);
      exact += `${text.slice(done, at)}"${number}"`;
      done = at + number.length;
    }
    at += number.length - 1;
  }
  return exact + text.slice(done);
}

/** An integer that rounds to itself, or that no field of 64 bits can hold, so that it is meant for a double. */
function isKept(text: string): boolean {
  // Long ones take long to read, and are beyond all in any case.
  if (text.length > 21) return true;
  const integer = BigInt(text);
  return BigInt(Number(text)) === integer || integer < -(2n ** 63n) || integer >= 2n ** 64n;
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
