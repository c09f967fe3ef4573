/** Text on one line for a terminal: control characters are escaped, and what is longer than `limit` is cut. */
export function printable(text: string, limit = Number.POSITIVE_INFINITY): string {
  const escaped = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => {
    const code = character.codePointAt(0) as number;
    return code < 0x10000 ? `\\u${code.toString(16).padStart(4, '0')}` : `\\u{${code.toString(16)}}`;
  });
  return escaped.length <= limit ? escaped : `${escaped.slice(0, limit - 1)}…`;
}
