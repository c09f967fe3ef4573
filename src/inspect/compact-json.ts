/** A JSON string, or space between the parts of a text. */
const STRING_OR_SPACE = /("(?:[^"\\]|\\.)*")|\s+/g;

/**
 * JSON text on one line, its numbers as they are written: they may be larger than JavaScript's. Undefined for text that
 * is no JSON.
 */
export function compactJson(text: string): string | undefined {
  try {
    JSON.parse(text);
  } catch {
    return undefined;
  }
  return text.replace(STRING_OR_SPACE, (_, string: string | undefined) => string ?? '');
}
