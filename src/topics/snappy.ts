import snappy from 'snappy';

/** Header of the framing that Java's snappy stream writes: magic (8 bytes), version and compatible version (4 each). */
const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const XERIAL_HEADER = 16;
/** The longest copy makes 64 bytes of 3. */
const MOST_RATIO = 64 / 3;

/**
 * What snappy compressed, in blocks behind the header of Java's stream or as one without it. Throws for what is neither,
 * for a block that is not all there, and for one that says it is larger than it can be.
 * `refuse` is to throw: it is called before there is room made for a block with which the whole would come to more than `limitBytes`.
 */
export async function unsnappy(buffer: Buffer, limitBytes: number, refuse: () => never): Promise<Buffer> {
  const read: Buffer[] = [];
  let bytes = 0;
  for (const block of blocksOf(buffer)) {
    const claimed = claimOf(block);
    bytes += claimed;
    if (bytes > limitBytes) refuse();
    if (claimed > block.length * MOST_RATIO) {
      throw new RangeError(
        `a batch of ${block.length} bytes says that it is ${claimed} bytes when it is decompressed, which it cannot be`,
      );
    }
    const value = await snappy.uncompress(block);
    read.push(typeof value === 'string' ? Buffer.from(value) : value);
  }
  const [only] = read;
  return only !== undefined && read.length === 1 ? only : Buffer.concat(read);
}

function* blocksOf(buffer: Buffer): Generator<Buffer> {
  if (!buffer.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC)) {
    yield buffer;
    return;
  }
  for (let at = XERIAL_HEADER; at < buffer.length; ) {
    const size = buffer.readInt32BE(at);
    if (size <= 0 || at + 4 + size > buffer.length)
      throw new RangeError(`a snappy block is of ${size} bytes at ${at} of ${buffer.length}`);
    yield buffer.subarray(at + 4, at + 4 + size);
    at += 4 + size;
  }
}

/** What a block says that it comes to: a varint before its data (snappy's format description, 1). */
function claimOf(block: Buffer): number {
  let claimed = 0;
  for (let at = 0, scale = 1; at < 5 && at < block.length; at++, scale *= 128) {
    claimed += ((block[at] as number) & 0x7f) * scale;
    if ((block[at] as number) < 0x80) break;
  }
  return claimed;
}
