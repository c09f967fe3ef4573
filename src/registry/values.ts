/** A value that cannot go the way that its types go; the sentence is for people, `path` for whoever adds to it. */
export class UnfitValue extends Error {}

export const MS_PER_DAY = 86_400_000;
const NANOS = 1_000_000_000n;

/** Units of a second that a logical timestamp counts, per second. */
export const TIMESTAMP_UNITS: Readonly<Record<string, bigint>> = {
  'timestamp-millis': 1_000n,
  'timestamp-micros': 1_000_000n,
  'timestamp-nanos': NANOS,
};

/** A count of units since 1970 as the fields of a google.protobuf.Timestamp. */
export function toTimestamp(count: bigint, perSecond: bigint): { seconds: bigint; nanos: number } {
  let seconds = count / perSecond;
  let rest = count % perSecond;
  if (rest < 0n) {
    seconds -= 1n;
    rest += perSecond;
  }
  return { seconds, nanos: Number(rest * (NANOS / perSecond)) };
}

/** The other way; what is smaller than a unit is cut off, towards the past. */
export function fromTimestamp({ seconds, nanos }: { seconds: bigint; nanos: number }, perSecond: bigint): bigint {
  const count = seconds * perSecond + BigInt(nanos) / (NANOS / perSecond);
  if (BigInt.asIntN(64, count) !== count)
    throw new UnfitValue(`the time ${seconds} s does not fit into 64 bits of its unit`);
  return count;
}

/** Days since 1970 as `2001-01-31`. */
export function toDate(days: number): string {
  const date = new Date(days * MS_PER_DAY);
  if (Number.isNaN(date.getTime())) throw new UnfitValue(`day ${days} is outside of the calendar`);
  const text = date.toISOString();
  return text.slice(0, text.indexOf('T'));
}

export function fromDate(text: string): number {
  const at = /^[+-]?\d{4,6}-\d\d-\d\d$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN;
  if (Number.isNaN(at) || toDate(at / MS_PER_DAY) !== text)
    throw new UnfitValue(`${JSON.stringify(text)} is no date like 2001-01-31`);
  return at / MS_PER_DAY;
}

/** The two's complement, big-endian, of a decimal's digits as text: `-12.50` for -1250 at scale 2. */
export function toDecimal(bytes: Uint8Array, scale: number): string {
  const size = bytes.length * 8;
  const unscaled = size === 0 ? 0n : BigInt.asIntN(size, BigInt(`0x${Buffer.from(bytes).toString('hex')}`));
  const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, '0');
  const point = digits.length - scale;
  return `${unscaled < 0n ? '-' : ''}${digits.slice(0, point)}${scale > 0 ? `.${digits.slice(point)}` : ''}`;
}

/** The other way. `size`: of a fixed, in bytes; else as few bytes as hold it. */
export function fromDecimal(
  text: string,
  { scale, precision }: { scale: number; precision: number },
  size?: number,
): Buffer {
  const parts = /^([+-]?)(\d+)(?:\.(\d+))?$/.exec(text);
  if (parts === null) throw new UnfitValue(`${JSON.stringify(text)} is no decimal number like 12.50`);
  const [, sign, whole = '', fraction = ''] = parts;
  const kept = fraction.replace(/0+$/, '');
  if (kept.length > scale) throw new UnfitValue(`${text} has more than ${scale} digits after the point`);
  const magnitude = BigInt(whole + kept.padEnd(scale, '0'));
  if (precision > 0 && magnitude.toString().length > precision && magnitude !== 0n)
    throw new UnfitValue(`${text} has more than ${precision} digits`);
  const unscaled = sign === '-' ? -magnitude : magnitude;
  let length = size ?? 1;
  while (size === undefined && BigInt.asIntN(length * 8, unscaled) !== unscaled) length += 1;
  if (BigInt.asIntN(length * 8, unscaled) !== unscaled)
    throw new UnfitValue(`${text} does not fit into ${length} bytes`);
  return Buffer.from(
    BigInt.asUintN(length * 8, unscaled)
      .toString(16)
      .padStart(length * 2, '0'),
    'hex',
  );
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export function checkUuid(text: string): string {
  if (!UUID.test(text)) throw new UnfitValue(`${JSON.stringify(text)} is no UUID`);
  return text;
}
