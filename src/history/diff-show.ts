import { DEAD_LETTER_HEADERS } from '../codec/header-names.ts';
import type { AnyRecord } from '../verify/identity.ts';
import type { Content } from './diff-content.ts';
import { outboxRecords, topicRecord } from './diff-items.ts';
import type { DiffOptions } from './diff-options.ts';
import type { Found } from './diff-table.ts';
import { changedFields, type Difference } from './difference.ts';

/** Reads both sides of a difference again, for people. */
export async function show(found: Found, options: DiffOptions, content: Content): Promise<Difference> {
  const side = async (place: string | null): Promise<unknown> => {
    if (place === null) return undefined;
    switch (found.what) {
      case 'events':
        return showEvent(found, place, options, content);
      case 'values':
        return showValue(found, place, options, content);
      case 'outputs':
      case 'failures':
        return showRecord(found, place, options, content);
    }
  };
  const [before, after] = [await side(found.before), await side(found.after)];
  const { what, kind, commandId, entityType, entityId } = found;
  return {
    what,
    kind,
    commandId: what === 'values' ? undefined : commandId,
    entity: entityId === '' ? undefined : { entityType, entityId },
    name:
      what === 'failures' ? found.group : what === 'values' ? 'value' : found.id.slice(found.id.lastIndexOf('/') + 1),
    before,
    after,
    fields: kind === 'changed' ? changedFields(before, after) : [],
  };
}

async function showEvent(found: Found, place: string, { client }: DiffOptions, content: Content): Promise<unknown> {
  const [generation, seq] = place.split('/');
  const { rows } = await client.query<{ type_url: string; payload: Buffer }>(
    'select type_url, payload from event where generation = $1 and entity_type = $2 and entity_id = $3 and seq = $4',
    [generation, found.entityType, found.entityId, seq],
  );
  const row = rows[0];
  return row && { type: row.type_url, data: content.showPayload({ typeUrl: row.type_url, value: row.payload }) };
}

async function showValue(
  found: Found,
  generation: string,
  { client }: DiffOptions,
  content: Content,
): Promise<unknown> {
  const { rows } = await client.query<{ type_url: string | null; payload: Buffer | null }>(
    'select type_url, payload from value where generation = $1 and entity_type = $2 and entity_id = $3',
    [generation, found.entityType, found.entityId],
  );
  const row = rows[0];
  if (row === undefined || row.payload === null) return null;
  return content.showPayload({ typeUrl: row.type_url ?? '', value: row.payload });
}

async function showRecord(found: Found, place: string, options: DiffOptions, content: Content): Promise<unknown> {
  const record = place === found.after ? await madeRecord(place, options) : await sourceRecord(place, options);
  if (record === undefined) return undefined;
  if (found.what === 'outputs') return content.showRecord(record);
  const text = (name: string) => {
    const value = record.headers.find(([key]) => key === name)?.[1] ?? '';
    return typeof value === 'string' ? value : Buffer.from(value).toString();
  };
  return { code: text(DEAD_LETTER_HEADERS.code), sentence: text(DEAD_LETTER_HEADERS.sentence) };
}

async function madeRecord(place: string, { client, generation }: DiffOptions): Promise<AnyRecord | undefined> {
  const [shard, chunk, ordinal] = place.split('/').map(Number);
  const { rows } = await client.query<{ shard: number; chunk: number; records: Buffer }>(
    'select shard, chunk, records from outbox where generation = $1 and shard = $2 and chunk = $3',
    [generation.generation, shard, chunk],
  );
  if (rows[0] === undefined) return undefined;
  return [...outboxRecords(rows[0])][ordinal ?? 0]?.record;
}

async function sourceRecord(place: string, { logs, signal }: DiffOptions): Promise<AnyRecord | undefined> {
  const [topic = '', partition, offset] = place.split('/');
  const from = BigInt(offset ?? 0);
  for await (const records of logs.read({ topic, partition: Number(partition), from, to: from + 1n }, signal)) {
    if (records[0] !== undefined) return topicRecord(records[0]).record;
  }
  return undefined;
}
