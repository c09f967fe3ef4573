import type { Metadata, MetadataEntry } from '../model/payload.ts';
import { NO_METADATA } from '../model/payload.ts';
import type { InputRecord } from '../model/record.ts';
import { OWN_PREFIX } from './header-names.ts';
import { utf8Text } from './utf8.ts';

/** A record's headers as a command sees them. */
export interface RecordHeaders {
  readonly metadata: Metadata;
  /** The CloudEvents attribute `type`. */
  readonly ceType: string | undefined;
  readonly contentType: string | undefined;
}

const NO_HEADERS: RecordHeaders = Object.freeze({ metadata: NO_METADATA, ceType: undefined, contentType: undefined });

/**
 * Record headers → metadata, by the binary mode of CloudEvents' Kafka binding. `ce_x` (or `ce-x`) becomes `ce-x`,
 * `content-type` becomes `Content-Type`, everything else goes through under its name in lower case. Repeated headers
 * become repeated entries. A value that is valid UTF-8 is a string, any other is bytes.
 *
 * Left out are our own headers (`stateferry-`) and `_kalix-`, which functions trust to come from their runtime.
 */
export function readHeaders(headers: InputRecord['headers']): RecordHeaders {
  let metadata: MetadataEntry[] | undefined;
  let ceType: string | undefined;
  let contentType: string | undefined;
  for (const name in headers) {
    const given = headers[name];
    if (given === undefined) continue;
    const key = metadataKey(name);
    if (key === undefined) continue;
    metadata ??= [];
    for (const one of Array.isArray(given) ? given : [given]) {
      const value = typeof one === 'string' ? one : (utf8Text(one) ?? one);
      metadata.push({ key, value });
      if (typeof value !== 'string') continue;
      if (key === 'ce-type') ceType ??= value;
      else if (key === 'Content-Type') contentType ??= value;
    }
  }
  return metadata === undefined ? NO_HEADERS : { metadata, ceType, contentType };
}

/** undefined: not for the function. */
function metadataKey(name: string): string | undefined {
  const lower = name.toLowerCase();
  if (lower.startsWith('ce_')) return `ce-${lower.slice(3)}`;
  if (lower === 'content-type') return 'Content-Type';
  if (lower.startsWith(OWN_PREFIX) || lower.startsWith('_kalix-')) return undefined;
  return lower;
}

/** The CloudEvents attributes that every record of ours has. */
export interface EventAttributes {
  readonly id: string;
  readonly type: string;
  readonly source: string;
  /** The entity id; empty where there is none. */
  readonly subject: string;
}

/** Attributes that say what the record is, whatever the function says. */
const OUR_ATTRIBUTES: ReadonlySet<string> = new Set(['id', 'source', 'specversion', 'datacontenttype']);

const SPEC_VERSION = ['ce_specversion', '1.0'] as const;

/**
 * Metadata of a function's reply and the attributes that we give → record headers, in the binary mode of CloudEvents'
 * Kafka binding.
 *
 * Of the metadata, `ce-type`, `ce-subject`, `ce-dataschema` and `ce-time` come before ours, other `ce-` extensions are
 * kept, `ce-id`, `ce-source`, `ce-specversion` and the content type are ours alone; of a repeated attribute the first
 * counts. Other entries go through under their name in lower case. Left out are byte values, our own headers and keys
 * that begin with `_`, which are between a function and its runtime.
 */
export function writeHeaders(
  attributes: EventAttributes,
  contentType: readonly ['content-type', string],
  metadata: Metadata,
): (readonly [string, string])[] {
  const { type, subject, given, others } = sorted(attributes, metadata);
  const headers: (readonly [string, string])[] = [
    SPEC_VERSION,
    ['ce_id', attributes.id],
    ['ce_type', type],
    ['ce_source', attributes.source],
  ];
  if (subject !== '') headers.push(['ce_subject', subject]);
  if (given !== undefined) {
    for (const [name, value] of given) if (name !== 'type' && name !== 'subject') headers.push([`ce_${name}`, value]);
  }
  headers.push(contentType);
  for (const other of others) headers.push(other);
  return headers;
}

/** Names that no attribute has in the JSON event format. */
const NO_ATTRIBUTES: ReadonlySet<string> = new Set(['type', 'subject', 'data']);
const ATTRIBUTE_NAME = /^[a-z0-9]+$/;

/**
 * What `writeHeaders` gives as headers, as the attributes of an event, in the same order, and the headers beside it. An
 * extension whose name CloudEvents does not allow is left out.
 */
export function writeAttributes(
  attributes: EventAttributes,
  metadata: Metadata,
): { readonly event: readonly (readonly [string, string])[]; readonly others: readonly (readonly [string, string])[] } {
  const { type, subject, given, others } = sorted(attributes, metadata);
  const event: (readonly [string, string])[] = [
    ['specversion', '1.0'],
    ['id', attributes.id],
    ['type', type],
    ['source', attributes.source],
  ];
  if (subject !== '') event.push(['subject', subject]);
  for (const [name, value] of given ?? []) {
    if (!NO_ATTRIBUTES.has(name) && ATTRIBUTE_NAME.test(name)) event.push([name, value]);
  }
  return { event, others };
}

function sorted(attributes: EventAttributes, metadata: Metadata) {
  let type = attributes.type;
  let subject = attributes.subject;
  let given: Map<string, string> | undefined;
  const others: [string, string][] = [];
  for (const { key, value } of metadata) {
    if (typeof value !== 'string') continue;
    const lower = key.toLowerCase();
    if (lower.startsWith('ce-') || lower.startsWith('ce_')) {
      const name = lower.slice(3);
      if (OUR_ATTRIBUTES.has(name)) continue;
      given ??= new Map();
      if (!given.has(name)) given.set(name, value);
    } else if (!lower.startsWith('_') && !lower.startsWith(OWN_PREFIX) && lower !== 'content-type') {
      others.push([lower, value]);
    }
  }
  if (given !== undefined) {
    type = given.get('type') ?? type;
    subject = given.get('subject') ?? subject;
  }
  return { type, subject, given, others };
}
