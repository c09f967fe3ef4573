import { asBuffer } from '../bytes.ts';
import { messageOf, StateferryError } from '../errors.ts';
import type { Metadata, MetadataEntry } from '../model/payload.ts';
import type { RecordHeaders } from './cloudevents.ts';
import { contentKind } from './content-type.ts';
import { jsonMembers } from './json-members.ts';
import { utf8Text } from './utf8.ts';

/** What a CloudEvent in structured mode says: its attributes as a record's headers would, and its data. */
export interface StructuredEvent extends RecordHeaders {
  readonly ceType: string;
  readonly data: Buffer;
}

export const EVENT_JSON = 'application/cloudevents+json';

const JSON_TYPE = 'application/json';
/** The attributes that every event has. */
export const REQUIRED = ['specversion', 'id', 'source', 'type'] as const;
const DATA: ReadonlySet<string> = new Set(['data', 'data_base64']);
/** CloudEvents 1.0, "Naming conventions". */
const ATTRIBUTE = /^[a-z0-9]+$/;
/** RFC 4648, with its padding. */
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
/** RFC 3339, as the attribute `time` has it. */
const TIMESTAMP = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/;
const INT32 = 2 ** 31;
/** Half of a surrogate pair, which has no UTF-8: it would arrive as another character. */
const LONE_SURROGATE = /\p{Surrogate}/u;
const TEXTS: ReadonlySet<string> = new Set([...REQUIRED, 'subject', 'time', 'datacontenttype', 'dataschema']);

/**
 * Reads a record's value as one CloudEvent 1.0 in the JSON event format. Attributes and extensions become `ce-` entries
 * (integers and booleans as their text), `datacontenttype` becomes `Content-Type`, `application/json` where there is JSON
 * data and nothing is said; `others` are the record's own headers, whose CloudEvents attributes and content type do not
 * count. JSON data keeps its text as it stands. An event without data has no bytes and no content type.
 *
 * Throws RECORD_UNDECODABLE with the first thing that is wrong: what is no JSON object, an attribute that is missing, twice or
 * not of its kind, another `specversion` than 1.0, `data` and `data_base64` both, text with a lone surrogate, base64 that is
 * none, a batch, and another event format than JSON.
 */
export function readStructuredEvent(value: Buffer, contentType: string | undefined, others: Metadata): StructuredEvent {
  checkFormat(contentType);
  const text = utf8Text(value);
  if (text === undefined) throw malformed('it is not valid UTF-8');
  const members = membersOf(text);
  const metadata: MetadataEntry[] = [];
  let ceType = '';
  let dataType: string | undefined;
  for (const [name, raw] of members) {
    if (DATA.has(name) || raw === 'null') continue;
    if (!ATTRIBUTE.test(name)) {
      throw malformed(`its attribute ${JSON.stringify(name)} is not named with a to z and 0 to 9 alone`);
    }
    const attribute = attributeText(name, raw);
    if (name === 'datacontenttype') dataType = attribute;
    else metadata.push({ key: `ce-${name}`, value: attribute });
    if (name === 'type') ceType = attribute;
  }
  for (const name of REQUIRED) {
    if ((members.get(name) ?? 'null') === 'null') throw malformed(`it has no ${name}`);
  }
  const data = dataOf(members, dataType);
  const content = data === undefined ? undefined : (dataType ?? (members.has('data') ? JSON_TYPE : undefined));
  if (content !== undefined) metadata.push({ key: 'Content-Type', value: content });
  for (const entry of others) {
    if (!entry.key.startsWith('ce-') && entry.key !== 'Content-Type') metadata.push(entry);
  }
  return {
    metadata,
    ceType,
    contentType: data === undefined ? undefined : (content ?? 'application/octet-stream'),
    data: data ?? Buffer.alloc(0),
  };
}

function checkFormat(contentType: string | undefined): void {
  const mediaType = (contentType?.split(';', 1)[0] ?? EVENT_JSON).trim().toLowerCase();
  if (mediaType === EVENT_JSON) return;
  throw mediaType.startsWith('application/cloudevents-batch')
    ? malformed('it is a batch, and a record is one event; send each event in a record of its own', '')
    : malformed(
        `it is in the event format ${mediaType}, and only ${EVENT_JSON} is read`,
        'Send it in that one, or in binary mode.',
      );
}

function membersOf(text: string): ReadonlyMap<string, string> {
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed !== 'object' || parsed === null) throw new Error('it is no JSON object');
    if (Array.isArray(parsed)) throw new Error('it is a list, and a record is one event');
    return jsonMembers(text);
  } catch (error) {
    throw malformed(messageOf(error));
  }
}

function attributeText(name: string, raw: string): string {
  const value: unknown = JSON.parse(raw);
  const isExtension = !TEXTS.has(name);
  if (isExtension && typeof value === 'boolean') return String(value);
  if (isExtension && typeof value === 'number') {
    if (Number.isInteger(value) && value >= -INT32 && value < INT32) return String(value);
    throw malformed(`its extension ${name} is ${raw}, and a number there is a whole one of 32 bits`);
  }
  if (typeof value !== 'string') {
    throw malformed(
      `its attribute ${name} is ${typeof value === 'object' ? 'a structure' : raw}, and a text is expected`,
    );
  }
  if (LONE_SURROGATE.test(value)) throw malformed(`its attribute ${name} holds half of a surrogate pair`);
  if (!isExtension && value === '') throw malformed(`its attribute ${name} is empty`);
  if (name === 'specversion' && value !== '1.0')
    throw malformed(`its specversion is ${JSON.stringify(value)}, and 1.0 is read`);
  if (name === 'time' && !TIMESTAMP.test(value))
    throw malformed(`its time is ${JSON.stringify(value)}, which is not one of RFC 3339`);
  return value;
}

function dataOf(members: ReadonlyMap<string, string>, contentType: string | undefined): Buffer | undefined {
  const [data = 'null', encoded = 'null'] = [members.get('data'), members.get('data_base64')];
  if (data !== 'null' && encoded !== 'null') throw malformed('it has both data and data_base64');
  if (encoded !== 'null') {
    const text: unknown = JSON.parse(encoded);
    if (typeof text !== 'string' || !BASE64.test(text)) throw malformed('its data_base64 is not base64');
    return Buffer.from(text, 'base64');
  }
  if (data === 'null') return undefined;
  if (contentType === undefined || contentKind(contentType) === 'json') return Buffer.from(data);
  const text: unknown = JSON.parse(data);
  if (typeof text !== 'string') {
    throw malformed(`its data is not a text, as its datacontenttype ${contentType} has it; bytes go into data_base64`);
  }
  if (LONE_SURROGATE.test(text)) throw malformed('its data holds half of a surrogate pair');
  return Buffer.from(text);
}

function malformed(
  reason: string,
  advice = 'Send CloudEvents 1.0, in the JSON event format or in binary mode.',
): StateferryError {
  return new StateferryError(
    'RECORD_UNDECODABLE',
    `The record is a CloudEvent in structured mode that cannot be read: ${reason}. ${advice}`.trimEnd(),
  );
}

/** An event in the JSON event format: attributes in the given order, then `data` or, where it is neither JSON nor text, `data_base64`. */
export function writeStructuredEvent(
  attributes: readonly (readonly [string, string])[],
  contentType: string,
  data: Uint8Array,
): Buffer {
  const members = attributes.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`);
  members.push(`"datacontenttype":${JSON.stringify(contentType)}`);
  const kind = contentKind(contentType);
  const text = asBuffer(data);
  if (kind === 'json') members.push(`"data":${text.toString('utf8')}`);
  else if (kind === 'text') members.push(`"data":${JSON.stringify(text.toString('utf8'))}`);
  else members.push(`"data_base64":"${text.toString('base64')}"`);
  return Buffer.from(`{${members.join(',')}}`);
}
