import { createHash } from 'node:crypto';
import { DEAD_LETTER_HEADERS } from '../codec/header-names.ts';
import { decodeOutbox } from '../codec/outbox.ts';
import type { InputRecord, OutputRecord } from '../model/record.ts';
import { type AnyRecord, asOutput, type Identity, identify, rootOf } from '../verify/identity.ts';
import type { Compared } from './difference.ts';

/** One thing of one generation that another generation may have, too. */
export interface Item {
  readonly what: Compared;
  /** The same in both generations. */
  readonly id: string;
  readonly commandId: string;
  /** Topic, entity type: what it is counted under. */
  readonly group: string;
  readonly entityType: string;
  readonly entityId: string;
  /** Of everything that must be the same. */
  readonly digest: Buffer;
  /** Where its content can be read again. */
  readonly place: string;
}

/** What of the deployment tells whose a record is. */
export interface ItemSurroundings {
  readonly deployment: string;
  /** Entity type by service. */
  readonly entityTypes: ReadonlyMap<string, string>;
  readonly answers: string;
  readonly deadLetters: string;
  /** The content that is compared: key and value, without what is to be ignored. */
  readonly content: (record: AnyRecord) => Buffer;
}

/** An output record as an item; undefined for one that is no output of this deployment, or is not compared. */
export function outputItem(
  record: AnyRecord,
  at: { readonly topic: string; readonly commandTopic: string; readonly place: string },
  { deployment, entityTypes, answers, content }: ItemSurroundings,
): Item | undefined {
  const { topic, commandTopic, place } = at;
  const found = identify(record, { topic, commandTopic, answerTopic: answers, deployment });
  if (found === undefined || found.kind === 'put back') return undefined;
  const item = { commandId: found.origin, place, ...entityOf(record, found, entityTypes) };
  if (found.kind === 'dead letter') {
    const failure = [DEAD_LETTER_HEADERS.code, DEAD_LETTER_HEADERS.sentence].map((name) => textOf(record, name));
    return { ...item, what: 'failures', id: found.origin, group: topic, digest: digestOf(...failure) };
  }
  const group = found.kind === 'command' ? 'commands' : topic;
  return { ...item, what: 'outputs', id: `${group} ${found.id}`, group, digest: digestOf(content(record)) };
}

/** The outputs of an outbox row, each with its place in it. */
export function* outboxRecords(row: {
  readonly shard: number;
  readonly chunk: number;
  readonly records: Uint8Array;
}): Generator<{ record: OutputRecord; place: string }> {
  let ordinal = 0;
  for (const record of decodeOutbox(row.records)) yield { record, place: `${row.shard}/${row.chunk}/${ordinal++}` };
}

export function topicRecord(record: InputRecord): { record: AnyRecord; place: string } {
  return { record: asOutput(record), place: `${record.topic}/${record.partition}/${record.offset}` };
}

export function digestOf(...parts: readonly (string | Uint8Array)[]): Buffer {
  const hash = createHash('sha1');
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest().subarray(0, 16);
}

function entityOf(
  record: AnyRecord,
  { service }: Identity,
  entityTypes: ReadonlyMap<string, string>,
): { entityType: string; entityId: string } {
  // A destination may have none of the headers of CloudEvents; the key is the entity id too.
  const entityId = textOf(record, 'ce_subject') || (record.key === null ? '' : Buffer.from(record.key).toString());
  return { entityType: entityTypes.get(service) ?? '', entityId };
}

function textOf(record: AnyRecord, name: string): string {
  const value = record.headers.find(([key]) => key === name)?.[1] ?? '';
  return typeof value === 'string' ? value : Buffer.from(value).toString();
}

/** Where the external record of a command stood; what cannot be told stands at -1. */
export function rootOffset(commandId: string): { topic: string; partition: number; offset: bigint } {
  return rootOf(commandId) ?? { topic: '', partition: -1, offset: -1n };
}
