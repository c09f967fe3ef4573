import type { DeadLettersRequest, Io, LetterFilter } from '../cli/context.ts';
import { ORIGIN_HEADER } from '../codec/header-names.ts';
import { type Letter, readLetter } from '../codec/letter.ts';
import { encodeOutbox } from '../codec/outbox.ts';
import { putBack } from '../codec/put-back.ts';
import { type Config, internalTopics } from '../config/config.ts';
import { messageOf, StateferryError } from '../errors.ts';
import { type LetterMark, loadMarks, markDropped, requestRetry } from '../journal/dead-letters.ts';
import { registerCodecs } from '../topics/codecs.ts';
import { partitionCounts } from '../topics/ensure.ts';
import { messageLimits } from '../topics/limits.ts';
import { partitionFor } from '../topics/partition.ts';
import { openPartitionLogs, type PartitionLogs } from '../topics/partition-log.ts';
import { BATCH_BYTES, recordBytes } from '../topics/record-bytes.ts';
import { type KnownLetter, letterJson, letterSummary, letterTable, letterText } from './letter-text.ts';
import { quietKafka } from './quiet-kafka.ts';
import { awaitOutcomes, type Journal, thisUser, withJournal } from './with-journal.ts';

/** Letters that are put back before it is looked whether they are: what waits in the journal stays little. */
const RETRY_BATCH = 500;

/** A letter, and what names it. */
interface FoundLetter extends KnownLetter {
  readonly partition: number;
  readonly offset: bigint;
  readonly written: number;
}

/** The dead-letter topic, with what somebody has made of its letters. */
interface Letters {
  /** Those of [from, to) of a partition, in order. */
  read(partition: number, from: bigint, to: bigint, signal: AbortSignal): AsyncGenerator<FoundLetter>;
  readonly ranges: ReadonlyMap<number, { readonly low: bigint; readonly stable: bigint }>;
  /** The largest batch that the command topic takes; undefined: there is no command topic. */
  readonly commandBytes: number | undefined;
}

/** `stateferry dead-letters list|show|retry|drop`. */
export async function deadLetters(config: Config, request: DeadLettersRequest, io: Io): Promise<number> {
  return withJournal(config, (journal) =>
    withLetters(config, journal, async (letters) => {
      switch (request.kind) {
        case 'list':
          return list(letters, request, io);
        case 'show': {
          const found = await find(letters, request.id, io.signal);
          io.out.write(request.json ? `${JSON.stringify(letterJson(found), null, 2)}\n` : letterText(found));
          return 0;
        }
        case 'drop':
          return drop(config, journal, letters, request, io);
        case 'retry':
          return retry(config, journal, letters, request, io);
      }
    }),
  );
}

async function withLetters<T>(config: Config, journal: Journal, use: (letters: Letters) => Promise<T>): Promise<T> {
  registerCodecs();
  const { commands, deadLetters: topic } = internalTopics(config);
  const kafka = quietKafka(config);
  const admin = kafka.admin();
  let logs: PartitionLogs | undefined;
  try {
    let counts: ReadonlyMap<string, number>;
    try {
      await admin.connect();
      counts = await partitionCounts(admin, [commands, topic]);
    } catch (cause) {
      const brokers = config.kafka.brokers.join(', ');
      throw new StateferryError(
        'KAFKA_UNAVAILABLE',
        `no broker answers at ${brokers}: ${messageOf(cause)}. Check kafka.brokers.`,
        { cause },
      );
    }
    if (!counts.has(topic)) {
      throw new StateferryError(
        'OPERATION_REFUSED',
        `there is no topic "${topic}": \`stateferry run\` makes it when it starts. Correct deployment.name or deadLetters.topic.`,
      );
    }
    const limits = await messageLimits(admin, [...counts.keys()]);
    logs = await openPartitionLogs(kafka, [topic]);
    const source = logs;
    const marks = new Map((await loadMarks(journal.pool, topic)).map((mark) => [markKey(mark.place), mark]));
    return await use({
      ranges: (await logs.ranges([topic])).get(topic) ?? new Map(),
      commandBytes: limits.get(commands),
      async *read(partition, from, to, signal) {
        for await (const records of source.read({ topic, partition, from, to }, signal)) {
          for (const record of records) {
            const letter = readLetter(record);
            if (letter === undefined) continue;
            const place = { partition, offset: record.offset, written: record.timestamp };
            yield { id: `${partition}/${record.offset}`, letter, mark: marks.get(markKey(place)), ...place };
          }
        }
      },
    });
  } finally {
    await logs?.close();
    await admin.disconnect();
  }
}

function markKey(place: Pick<LetterMark['place'], 'partition' | 'offset' | 'written'>): string {
  return `${place.partition}/${place.offset}/${place.written}`;
}

async function* all(letters: Letters, filter: LetterFilter, signal: AbortSignal): AsyncGenerator<FoundLetter> {
  for (const [partition, { low, stable }] of [...letters.ranges].sort(([a], [b]) => a - b)) {
    for await (const found of letters.read(partition, low, stable, signal)) if (fits(found.letter, filter)) yield found;
  }
}

function fits(letter: Letter, { topic, code, service, since }: LetterFilter): boolean {
  return (
    (topic === undefined || letter.record.topic === topic) &&
    (code === undefined || letter.code === code) &&
    (service === undefined || letter.service === service) &&
    (since === undefined || (letter.failedAt ?? 0) >= since)
  );
}

async function list(letters: Letters, request: DeadLettersRequest & { kind: 'list' }, io: Io): Promise<number> {
  let kept: FoundLetter[] = [];
  let count = 0;
  const newest = (some: FoundLetter[]) =>
    some.sort((a, b) => a.written - b.written || a.partition - b.partition).slice(-request.limit);
  for await (const found of all(letters, request.filter, io.signal)) {
    if (!request.all && (found.mark?.state === 'retried' || found.mark?.state === 'dropped')) continue;
    count++;
    // Neither the list nor its JSON shows the payload, and there may be many.
    kept.push({ ...found, letter: { ...found.letter, record: { ...found.letter.record, value: null } } });
    if (kept.length > 2 * request.limit) kept = newest(kept);
  }
  kept = newest(kept);
  if (request.json) io.out.write(`${JSON.stringify(kept.map(letterSummary), null, 2)}\n`);
  else if (count === 0) io.out.write(request.all ? 'No dead letter.\n' : 'No open dead letter.\n');
  else {
    io.out.write(letterTable(kept));
    if (count > kept.length) io.out.write(`${count - kept.length} older ones are not shown (--limit).\n`);
  }
  return 0;
}

/** @throws StateferryError OPERATION_REFUSED where no dead letter stands there. */
async function find(letters: Letters, id: string, signal: AbortSignal): Promise<FoundLetter> {
  const [partition = '', offset = ''] = id.split('/');
  const range = letters.ranges.get(Number(partition));
  const at = BigInt(offset);
  if (range !== undefined && at >= range.low && at < range.stable) {
    for await (const found of letters.read(Number(partition), at, at + 1n, signal))
      if (found.offset === at) return found;
  }
  throw new StateferryError(
    'OPERATION_REFUSED',
    `there is no dead letter ${id}: \`stateferry dead-letters list --all\` shows those that there are.`,
  );
}

/** The letters that are meant: of ids all of them or none. */
async function* meant(
  letters: Letters,
  { ids, filter }: DeadLettersRequest & { kind: 'retry' | 'drop' },
  signal: AbortSignal,
): AsyncGenerator<FoundLetter> {
  if (filter !== undefined) {
    for await (const found of all(letters, filter, signal)) if (found.mark === undefined) yield found;
    return;
  }
  const found: FoundLetter[] = [];
  for (const id of new Set(ids)) found.push(await find(letters, id, signal));
  yield* found;
}

async function drop(
  config: Config,
  { pool }: Journal,
  letters: Letters,
  request: DeadLettersRequest & { kind: 'retry' | 'drop' },
  io: Io,
): Promise<number> {
  const { deadLetters: topic } = internalTopics(config);
  const by = `${request.by ?? thisUser()}${request.reason === '' ? '' : `: ${request.reason}`}`;
  let dropped = 0;
  const refused: string[] = [];
  for await (const { id, mark, partition, offset, written } of meant(letters, request, io.signal)) {
    if (await markDropped(pool, { topic, partition, offset, written }, by)) dropped++;
    else refused.push(`${id} was dealt with already (${mark?.state ?? 'just now'})`);
  }
  return report(`${dropped} dropped`, refused, io);
}

async function retry(
  config: Config,
  journal: Journal,
  letters: Letters,
  request: DeadLettersRequest & { kind: 'retry' | 'drop' },
  io: Io,
): Promise<number> {
  const { commands, deadLetters: topic } = internalTopics(config);
  const { pool, generation, shards } = journal;
  const by = request.by ?? thisUser();
  const refused: string[] = [];
  const until = Date.now() + request.waitMs;
  let done = 0;
  let waiting: { id: string; operation: number }[] = [];
  let pending = 0;
  const settle = async () => {
    const waitMs = Math.max(0, until - Date.now());
    const came = await awaitOutcomes(
      pool,
      waiting.map(({ operation }) => operation),
      { waitMs, signal: io.signal },
    );
    for (const { id, operation } of waiting) {
      const outcome = came.get(operation);
      if (outcome === undefined) pending++;
      else if (outcome === 'put back') done++;
      else refused.push(`${id}: ${outcome}`);
    }
    waiting = [];
  };
  for await (const { id, letter, mark, partition, offset, written } of meant(letters, request, io.signal)) {
    const record = recordOf(letter, commands, shards);
    const why = refusalOf(letter, BATCH_BYTES + recordBytes(record), letters.commandBytes);
    if (why !== undefined) {
      refused.push(`${id} ${why}`);
      continue;
    }
    const operation = await requestRetry(pool, generation, {
      place: { topic, partition, offset, written },
      shard: record.partition,
      record: encodeOutbox([record]),
      by,
      reason: request.reason,
      again: request.again,
    });
    if (operation === undefined) {
      refused.push(`${id} was dealt with already (${mark?.state ?? 'just now'}): --again puts it back once more`);
      continue;
    }
    waiting.push({ id, operation });
    if (waiting.length >= RETRY_BATCH) await settle();
  }
  await settle();
  const code = report(`${done} put back`, refused, io);
  if (pending === 0) return code;
  throw new StateferryError(
    'OPERATION_PENDING',
    `${pending} more are asked for and not put back yet. They are as soon as the owner of their shard can: does the ` +
      'deployment run, and is none of its shards halted? `stateferry dead-letters list` shows them as retrying until then.',
  );
}

function report(done: string, refused: readonly string[], io: Io): number {
  io.out.write(`${done}${refused.length === 0 ? '' : `, ${refused.length} refused`}\n`);
  for (const sentence of refused) io.err.write(`${sentence}\n`);
  return refused.length === 0 ? 0 : 1;
}

/** The letter's record as it is put back: to the shard that its key says, as that is most likely its entity's. */
function recordOf({ record }: Letter, commandTopic: string, shards: number) {
  const { topic, key, headers } = record;
  const [origin] = [headers[ORIGIN_HEADER]].flat();
  const isCommand = topic === commandTopic;
  return putBack(record, {
    topic: commandTopic,
    partition: isCommand || key === null ? record.partition % shards : partitionFor(key, shards),
    commandId: isCommand && origin !== undefined ? String(origin) : `${topic}/${record.partition}/${record.offset}`,
  });
}

function refusalOf({ leftOut, record }: Letter, bytes: number, commandBytes: number | undefined): string | undefined {
  if (leftOut !== undefined) {
    return `does not have the record's ${leftOut}: produce ${record.topic}/${record.partition}/${record.offset} again yourself`;
  }
  if (commandBytes === undefined) return 'cannot be put back: the deployment has no command topic yet, start it first';
  if (bytes <= commandBytes) return undefined;
  return `makes a record of ${bytes} bytes, and the command topic takes at most ${commandBytes} (max.message.bytes)`;
}
