import { createHash, type Hash } from 'node:crypto';
import { asBuffer } from '../bytes.ts';
import { itemOf } from '../codec/answer-record.ts';
import {
  DEAD_LETTER_HEADERS,
  DOOR_HEADER,
  ID_HEADER,
  ORIGIN_HEADER,
  PLACE_HEADER,
  PUT_BACK_HEADER,
  SOURCE_HEADER,
} from '../codec/header-names.ts';
import type { CommandId } from '../model/command.ts';
import type { InputRecord, OutputRecord } from '../model/record.ts';
import type { Fingerprint } from './fingerprints.ts';

/** The external record that a command came from. */
export interface Root {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  /** Derived from it: a forward, a side effect, or an event for a subscriber (`#n@subscriber`), of one or more steps. */
  readonly derived: boolean;
}

/** Which output a record is: the same identity on the same topic is the same output. */
export interface Identity {
  readonly kind: 'event' | 'state' | 'reply' | 'answer' | 'command' | 'put back' | 'dead letter';
  /** Unique per topic, except that a command may be put back in the same way again. */
  readonly id: string;
  /** The command that caused it; of a stray and of a derived command, the command itself. */
  readonly origin: CommandId;
  readonly root: Root;
  /** Of a dead letter, and of a record that was put back: where the record that it was stood. */
  readonly stood: { readonly topic: string; readonly partition: number; readonly offset: bigint } | undefined;
  /** Service that it is of; empty where the record does not say. */
  readonly service: string;
}

/** A record of ours or of a topic, in what they share. */
export interface AnyRecord {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly (readonly [string, string | Uint8Array])[];
}

const COMMAND_ID = /^([^/#]+)\/(\d+)\/(\d+)((?:#\d+(?:@[^/#]+)?)*)$/;
const CE_ID = /^(.+)\/(event-\d+|state|reply)$/;

/** Reads a command's id; undefined for text that is none. */
export function rootOf(command: CommandId): Root | undefined {
  const found = COMMAND_ID.exec(command);
  if (found === null) return undefined;
  const [, topic = '', partition, offset = '', steps] = found;
  return { topic, partition: Number(partition), offset: BigInt(offset), derived: steps !== '' };
}

/** `T/p/o#1#2` → `T/p/o#1`; undefined for a command that nothing derived. */
export function parentOf(command: CommandId): CommandId | undefined {
  const at = command.lastIndexOf('#');
  return at < 0 ? undefined : command.slice(0, at);
}

/** Which of the deployment's outputs a record is; undefined for one that no deployment of this name wrote. */
export function identify(
  record: AnyRecord,
  where: {
    readonly topic: string;
    readonly commandTopic: string;
    readonly answerTopic: string;
    readonly deployment: string;
  },
): Identity | undefined {
  const header = (name: string): string | undefined => {
    const found = record.headers.find(([key]) => key === name);
    return found === undefined ? undefined : textOf(found[1]);
  };
  const isCommand = where.topic === where.commandTopic;
  if (!isCommand && header(DEAD_LETTER_HEADERS.code) !== undefined) return deadLetter(header, where.commandTopic);
  const origin = header(ORIGIN_HEADER);
  const root = origin === undefined ? undefined : rootOf(origin);
  if (origin === undefined || root === undefined) return undefined;
  const putBack = header(PUT_BACK_HEADER);
  if (isCommand && putBack !== undefined) {
    const stood = rootOf(putBack.slice(0, putBack.lastIndexOf('/')));
    if (stood === undefined) return undefined;
    const place = header(PLACE_HEADER);
    const id = `${origin} as ${putBack}${place === undefined ? '' : ` from ${place}`}`;
    return { kind: 'put back', id, origin, root, stood, service: '' };
  }
  if (where.topic === where.answerTopic) {
    const { key, value } = record;
    const item = itemOf({ key: key && asBuffer(key), value: value && asBuffer(value) });
    return {
      kind: 'answer',
      id: `${origin}/answer${item === 0 ? '' : `-${item}`}`,
      origin,
      root,
      stood: undefined,
      service: '',
    };
  }
  if (isCommand) return { kind: 'command', id: origin, origin, root, stood: undefined, service: '' };
  const id = header('ce_id') ?? header(ID_HEADER);
  const [, command, what] = (id === undefined ? null : CE_ID.exec(id)) ?? [];
  const source = header('ce_source') ?? header(SOURCE_HEADER);
  const prefix = `/${where.deployment}/`;
  if (id === undefined || command !== origin || what === undefined || !source?.startsWith(prefix)) return undefined;
  const kind = what === 'reply' || what === 'state' ? what : 'event';
  return { kind, id, origin, root, stood: undefined, service: source.slice(prefix.length) };
}

function deadLetter(header: (name: string) => string | undefined, commandTopic: string): Identity | undefined {
  const topic = header(DEAD_LETTER_HEADERS.topic) ?? '';
  const place = `${topic}/${header(DEAD_LETTER_HEADERS.partition)}/${header(DEAD_LETTER_HEADERS.offset)}`;
  const stood = rootOf(place);
  if (stood === undefined) return undefined;
  // A record from outside may carry such a header too: only our own topic's is to be believed.
  const origin = (topic === commandTopic ? header(ORIGIN_HEADER) : undefined) ?? place;
  return {
    kind: 'dead letter',
    // A command that is tried again by hand may fail again.
    id: `of ${place}, given up at ${header(DEAD_LETTER_HEADERS.failedAt)}`,
    origin,
    root: rootOf(origin) ?? stood,
    stood,
    service: header(DEAD_LETTER_HEADERS.service) ?? '',
  };
}

/** Whether a record of the command topic came in at a door: it is input. */
export function isFromDoor({ headers }: InputRecord): boolean {
  return headers[DOOR_HEADER] !== undefined && headers[PUT_BACK_HEADER] === undefined;
}

/** A topic's record in the shape of ours. */
export function asOutput(record: InputRecord): AnyRecord {
  const headers: [string, string | Uint8Array][] = [];
  for (const [name, given] of Object.entries(record.headers)) {
    for (const one of Array.isArray(given) ? given : [given]) if (one !== undefined) headers.push([name, one]);
  }
  return { key: record.key, value: record.value, headers };
}

/** Of text, or of the parts of a record. */
export function fingerprintOf(text: string): Fingerprint {
  return finish(createHash('sha1').update(text));
}

/** Of all that a record is: partition, key, value and headers. */
export function wholePrint(record: AnyRecord, partition: number): Fingerprint {
  const hash = createHash('sha1').update(`${partition}`);
  part(hash, record.key);
  part(hash, record.value);
  // kafkajs keeps headers by name in an object, so only their order within a name is an order.
  const headers = [...record.headers].sort(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0));
  for (const [name, value] of headers) {
    part(hash, name);
    part(hash, value);
  }
  return finish(hash);
}

/** Of key and value alone. */
export function bodyPrint(record: Pick<OutputRecord, 'key' | 'value'>): Fingerprint {
  const hash = createHash('sha1');
  part(hash, record.key);
  part(hash, record.value);
  return finish(hash);
}

function part(hash: Hash, bytes: string | Uint8Array | null): void {
  const length = bytes === null ? -1 : typeof bytes === 'string' ? Buffer.byteLength(bytes) : bytes.length;
  hash.update(`;${length}:`);
  if (bytes !== null) hash.update(bytes);
}

function finish(hash: Hash): Fingerprint {
  const digest = hash.digest();
  return { high: digest.readUInt32BE(0), low: digest.readUInt32BE(4) };
}

function textOf(value: string | Uint8Array): string {
  return typeof value === 'string' ? value : Buffer.from(value).toString();
}
