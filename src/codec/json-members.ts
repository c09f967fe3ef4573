const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN = new Set([0x7b, 0x5b]);
const CLOSE = new Set([0x7d, 0x5d]);
const COMMA = 0x2c;

/**
 * The members of a JSON object, each with its value's own text, so that no number is rounded on its way through. `text`
 * must be an object that JSON.parse takes. Throws Error for a name that is there twice: readers differ on which of the two counts.
 */
export function jsonMembers(text: string): ReadonlyMap<string, string> {
  const members = new Map<string, string>();
  let at = text.indexOf('{') + 1;
  for (;;) {
    const quote = text.indexOf('"', at);
    if (quote < 0 || text.slice(at, quote).includes('}')) return members;
    const end = stringEnd(text, quote);
    const name = JSON.parse(text.slice(quote, end)) as string;
    const from = text.indexOf(':', end) + 1;
    const to = valueEnd(text, from);
    if (members.has(name)) throw new Error(`${JSON.stringify(name)} is there twice`);
    members.set(name, text.slice(from, to).trim());
    if (text.charCodeAt(to) !== COMMA) return members;
    at = to + 1;
  }
}

/** Position behind the quote that ends the string that begins at `at`. */
function stringEnd(text: string, at: number): number {
  let end = at + 1;
  while (text.charCodeAt(end) !== QUOTE) end += text.charCodeAt(end) === BACKSLASH ? 2 : 1;
  return end + 1;
}

/** Position of the comma or brace behind the value that begins at `at`. */
function valueEnd(text: string, at: number): number {
  let depth = 0;
  let end = at;
  for (;;) {
    const code = text.charCodeAt(end);
    if (code === QUOTE) {
      end = stringEnd(text, end);
      continue;
    }
    if (depth === 0 && (code === COMMA || CLOSE.has(code))) return end;
    if (OPEN.has(code)) depth++;
    else if (CLOSE.has(code)) depth--;
    end++;
  }
}
