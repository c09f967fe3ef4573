import { InvalidArgumentError } from 'commander';

const UNITS_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A moment as people give it, in ms since the epoch: an ISO 8601 date or time, or how long ago, such as 90s or 7d. */
export function momentOf(text: string): number {
  const span = /^(\d{1,9})([smhd])$/.exec(text);
  if (span !== null) return Date.now() - Number(span[1]) * (UNITS_MS[span[2] as string] as number);
  const at = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(at)) return at;
  throw new InvalidArgumentError('It is neither a span such as 30m, 2h or 7d nor a time such as 2026-01-31T12:00:00Z.');
}
