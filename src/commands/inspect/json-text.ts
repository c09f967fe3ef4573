/** A string, an empty object or list, a mark, or space. */
const TOKEN = /("(?:[^"\\]|\\.)*")|(\{\s*\}|\[\s*\])|([{}[\],:])|\s+/g;

/** JSON that is there as text, and is to stay as it is: its numbers may be larger than JavaScript's. */
export class RawJson {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/**
 * JSON of a value, as JSON.stringify has it; dates are ISO 8601, bigints strings. With `indent`, on several lines, and what
 * is there as text on one.
 */
export function jsonText(value: unknown, indent = 0, margin = 0): string {
  if (value instanceof RawJson) return value.text;
  if (value instanceof Date) return JSON.stringify(value.toISOString());
  if (typeof value === 'bigint') return JSON.stringify(String(value));
  if (value === null || typeof value !== 'object') return JSON.stringify(value ?? null);
  const isList = Array.isArray(value);
  const parts = isList
    ? value.map((item) => jsonText(item, indent, margin + indent))
    : Object.entries(value)
        .filter(([, item]) => item !== undefined)
        .map(
          ([key, item]) => `${JSON.stringify(key)}:${indent > 0 ? ' ' : ''}${jsonText(item, indent, margin + indent)}`,
        );
  const [open, close] = isList ? '[]' : '{}';
  if (parts.length === 0) return `${open}${close}`;
  if (indent === 0) return `${open}${parts.join(',')}${close}`;
  const line = `\n${' '.repeat(margin + indent)}`;
  return `${open}${line}${parts.join(`,${line}`)}\n${' '.repeat(margin)}${close}`;
}

/** JSON text on several lines, its numbers as they are written. The text must be JSON. */
export function indentedJson(text: string): string {
  let depth = 0;
  const line = () => `\n${'  '.repeat(depth)}`;
  return text.replace(TOKEN, (_, string: string | undefined, empty: string | undefined, mark: string | undefined) => {
    if (string !== undefined) return string;
    if (empty !== undefined) return empty.replaceAll(/\s/g, '');
    switch (mark) {
      case '{':
      case '[':
        depth++;
        return mark + line();
      case '}':
      case ']':
        depth--;
        return line() + mark;
      case ',':
        return mark + line();
      case ':':
        return ': ';
      default:
        return '';
    }
  });
}
