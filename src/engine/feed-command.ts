import { asProtobuf, PROTOBUF_URL, typeOf } from '../codec/any.ts';
import { type CommandToSend, encodeCommandRecord } from '../codec/command-record.ts';
import { entityIdFromPayload } from '../codec/entity-key.ts';
import { StateferryError } from '../errors.ts';
import type { JournalEvent, JournalValue } from '../model/chunk.ts';
import type { Method } from '../model/component.ts';
import type { Change, Feed } from '../model/feed.ts';
import type { Metadata, Payload } from '../model/payload.ts';
import type { OutputRecord } from '../model/record.ts';
import { partitionFor } from '../topics/partition.ts';
import { BATCH_BYTES, recordBytes } from '../topics/record-bytes.ts';
import { methodFor } from './feed-plan.ts';

const EMPTY = asProtobuf('google.protobuf.Empty', new Uint8Array());
const NONE: readonly never[] = Object.freeze([]);
const CONTENT_TYPES: Readonly<Record<string, string>> = {
  string: 'text/plain; charset=utf-8',
  bytes: 'application/octet-stream',
};

/** A command that a feed makes of what another command did. */
export interface FedCommand {
  readonly feed: Feed;
  /** Of the entity whose event or value it is. */
  readonly entityId: string;
  readonly output: OutputRecord;
}

/** Where the commands of feeds go. */
export interface FeedContext {
  readonly commandTopic: string;
  readonly shards: number;
  /** The largest batch that a topic takes. */
  readonly messageBytes: (topic: string) => number;
}

/** What feeds make of a command's events, or of the change of its value: feed by feed, and in order. */
export function feedCommands(
  feeds: readonly Feed[],
  { events, value }: { readonly events: readonly JournalEvent[]; readonly value?: JournalValue },
  context: FeedContext,
): FedCommand[] {
  const fed: FedCommand[] = [];
  const changes: Change[] = events.map((event) => ({ ...event, number: event.seq }));
  if (value !== undefined) changes.push({ ...value, number: value.revision });
  for (const feed of feeds) {
    for (const change of changes) {
      const output = feedCommand(feed, change, context);
      if (output !== undefined) fed.push({ feed, entityId: change.entityId, output });
    }
  }
  return fed;
}

/**
 * The command that a feed makes of an event or of a value's change; undefined where it takes no interest. Pure, and the
 * same however the change comes to the feed. What cannot be carried out becomes a dead letter where it arrives, by the
 * deployment's policies, and holds up nothing: a type that no method takes, an event that the topic cannot hold, and one
 * without the id of the entity that is to take it.
 */
export function feedCommand(
  feed: Feed,
  change: Change,
  { commandTopic, shards, messageBytes }: FeedContext,
): OutputRecord | undefined {
  const { typeUrl, payload } = change;
  const isDeletion = typeUrl === undefined || payload === undefined;
  if (isDeletion && feed.deletes === undefined) return undefined;
  const given: Payload = isDeletion ? EMPTY : { typeUrl, value: payload };
  const { kind, type } = typeOf(given.typeUrl);
  const method = isDeletion ? feed.deletes : methodFor(feed, type, kind === 'protobuf');
  if (method === 'ignored') return undefined;
  const subject = Buffer.from(change.entityId);
  const entityId = method === undefined ? '' : entityIdOf(method, given.value);
  const key = entityId === '' ? subject : Buffer.from(entityId);
  const command: CommandToSend = {
    id: `${change.commandId}#${change.number}@${encodeURIComponent(feed.name)}`,
    service: (method ?? feed.methods[0] ?? feed.deletes)?.component.service ?? feed.name,
    method: method?.name ?? '',
    entityId,
    // A message of the method's own type is of that type whatever the function has put before its name.
    payload: method?.inputType === type && kind === 'protobuf' ? { ...given, typeUrl: PROTOBUF_URL + type } : given,
    metadata: asEvent(feed, change, kind, type),
    replyTo: NONE,
    key,
    topic: commandTopic,
    partition: partitionFor(key, shards),
  };
  if (method === undefined) {
    const takes = feed.methods.map(({ name, inputType }) => `${name} takes ${inputType}`).join(', ') || 'none';
    return encodeCommandRecord({
      ...command,
      fault:
        `${nameOf(feed, change)} is of type ${given.typeUrl}, and of the methods of "${feed.name}" ${takes}. ` +
        'Let a method take it, or say that it is to be ignored.',
    });
  }
  const record = encodeCommandRecord(command);
  const bytes = BATCH_BYTES + recordBytes(record);
  if (bytes <= messageBytes(commandTopic)) return record;
  return encodeCommandRecord({
    ...command,
    payload: { ...given, value: new Uint8Array() },
    fault:
      `${nameOf(feed, change)} makes a command of ${bytes} bytes for ${method.component.service}/${method.name}, and the topic ` +
      `"${commandTopic}" takes at most ${messageBytes(commandTopic)} (max.message.bytes).`,
  });
}

/** CloudEvents attributes, as metadata has them (PROTOCOLS 4 and 12). */
function asEvent(feed: Feed, { entityId, number }: Change, kind: string, type: string): Metadata {
  const contentType = kind === 'protobuf' ? 'application/protobuf' : 'application/json';
  return [
    { key: 'ce-id', value: `${entityId}/${number}` },
    { key: 'ce-source', value: feed.entityType },
    { key: 'ce-specversion', value: '1.0' },
    { key: 'ce-type', value: type },
    { key: 'ce-subject', value: entityId },
    { key: 'Content-Type', value: (kind === 'primitive' && CONTENT_TYPES[type]) || contentType },
  ];
}

/** Empty for an action, and where the message has none: then the command says so where it arrives. */
function entityIdOf(method: Method, message: Uint8Array): string {
  if (method.component.kind === 'action') return '';
  try {
    return entityIdFromPayload(method, message) ?? '';
  } catch (error) {
    if (error instanceof StateferryError && error.fate === 'reject') return '';
    throw error;
  }
}

function nameOf({ source, entityType }: Feed, { entityId, number }: Change): string {
  return `${source === 'value' ? `Change ${number}` : `Event ${number}`} of ${entityType} "${entityId}"`;
}
