import { isUtf8 } from 'node:buffer';
import { messageOf, StateferryError } from '../errors.ts';
import type { Caller, CommandId, StreamControl } from '../model/command.ts';
import type { Method } from '../model/component.ts';
import type { FramedReader } from '../model/framed.ts';
import { type Metadata, metadataValue, type Payload, typeNameOf } from '../model/payload.ts';
import type { InputRecord } from '../model/record.ts';
import type { AnyUrls } from '../protocol/any-urls.ts';
import { type Descriptors, messageType } from '../protocol/descriptors.ts';
import {
  asProtobuf,
  BYTES_VALUE,
  oneField,
  PROTOBUF_URL,
  STRING_VALUE,
  wrapBytes,
  wrapJson,
  wrapString,
} from './any.ts';
import { readHeaders } from './cloudevents.ts';
import { type ContentKind, contentKind } from './content-type.ts';
import { checkedEntityId } from './entity-id.ts';
import { entityIdFromPayload } from './entity-key.ts';
import { jsonToPayload } from './json.ts';
import { REQUIRED, readStructuredEvent } from './structured-event.ts';
import { utf8Text } from './utf8.ts';
import { createWellFormed, type WellFormed } from './well-formed.ts';

/** The largest value that is taken where nothing else is said: what a Kafka broker takes by default, in bytes. */
export const DEFAULT_MAX_BYTES = 1_048_576;

const ANY = 'google.protobuf.Any';
const NOWHERE: readonly string[] = Object.freeze([]);

/**
 * How the records of a topic are read. `auto`: by each one's content type; see content-type.ts. `cloudevents`: as that, and
 * what is no CloudEvent 1.0 is refused. `registry`: by the schema that the value is framed with (`readers`), whose name
 * decides the method, too. The others hold whatever the record says of itself.
 */
export type InputFormat = 'auto' | 'protobuf' | 'json' | 'text' | 'bytes' | 'cloudevents' | 'registry';

/** Which methods take the records of a topic, and how the records are read. */
export interface Subscription {
  readonly topic: string;
  readonly format: InputFormat;
  /** `key`: the record key; `field`: the payload's entity key field; `auto`: the key where there is one, else the field. */
  readonly entityId: 'key' | 'field' | 'auto';
  /** No two of them take the same input type. */
  readonly methods: readonly Method[];
  /** Records of a type that no method takes are passed over, not rejected. */
  readonly ignoreUnknown: boolean;
  /** Input types whose records are passed over; none of a method. */
  readonly ignored?: readonly string[];
  /** Largest value, in bytes; absent: the decoder's. */
  readonly maxBytes?: number;
}

/** What became of a record. */
export type Decoded =
  | {
      readonly kind: 'command';
      readonly method: Method;
      /** Empty for actions. */
      readonly entityId: string;
      readonly payload: Payload;
      readonly metadata: Metadata;
      /** Only of a record of the command topic which carries the command's own id. */
      readonly id?: CommandId;
      /** Topics that the answer goes to besides the method's own. */
      readonly replyTo: readonly string[];
      /** Who waits for it at a door. */
      readonly caller?: Caller;
      readonly stream?: StreamControl;
    }
  /** For the dead-letter topic. `method`: where it would have gone, if that could be told. */
  | {
      readonly kind: 'reject';
      readonly error: StateferryError;
      readonly method?: Method;
      /** As of a command. */
      readonly id?: CommandId;
      readonly caller?: Caller;
    }
  | { readonly kind: 'ignore' };

/** Turns the records of the subscribed topics into commands. */
export interface Decoder {
  /**
   * Never throws for what a record holds: that is a `reject`. Throws CONFIG_INVALID for a record of a topic without
   * subscription. Payload bytes of protobuf records are the record's own.
   */
  decode(record: InputRecord): Decoded;
}

/** A method as the records of its topic are matched against it. */
interface Target {
  readonly method: Method;
  readonly typeUrl: string;
  /** Absent: it takes google.protobuf.Any, so anything. */
  readonly wellFormed: WellFormed | undefined;
}

interface Plan {
  readonly subscription: Subscription;
  readonly maxBytes: number;
  readonly byType: ReadonlyMap<string, Target>;
  readonly any: Target | undefined;
  /** The one that a record without a type must be for. */
  readonly only: Target | undefined;
  readonly ignored: ReadonlySet<string>;
  readonly reader: FramedReader | undefined;
}

/**
 * Prepares decoding for a set of subscriptions. The method is chosen by the `ce-type` header (a full name, or a type
 * url), by being the only one where no type is ignored, or by taking google.protobuf.Any, in this order. Protobuf values are checked against
 * their type (`createWellFormed`), JSON values are converted by it (`jsonToPayload`); a method that takes Any gets JSON,
 * text and bytes as the dialect's JSON and primitive payloads, and protobuf as the type that `ce-type` names, if the
 * function has it. A method that takes google.protobuf.StringValue gets text, one that takes BytesValue gets bytes, where no
 * type is said or the one that such records are published under (`string`, `bytes`). Of a CloudEvent in structured mode,
 * attributes and data are what headers and value are elsewhere.
 *
 * Throws CONFIG_INVALID for two subscriptions to one topic, for one without methods and for two methods of one with the
 * same input type; FUNCTION_SPEC for an input type that the descriptors do not have.
 */
export function createDecoder({
  descriptors,
  anyUrls,
  subscriptions,
  maxBytes = DEFAULT_MAX_BYTES,
  readers = new Map(),
}: {
  readonly descriptors: Descriptors;
  /** The dialect's, of ANY_URLS. */
  readonly anyUrls: AnyUrls;
  readonly subscriptions: readonly Subscription[];
  /** Largest value of a record, in bytes. */
  readonly maxBytes?: number;
  /** By topic, for subscriptions with the format `registry`. */
  readonly readers?: ReadonlyMap<string, FramedReader>;
}): Decoder {
  const wellFormedOf = createWellFormed();
  const plans = new Map<string, Plan>();
  for (const subscription of subscriptions) {
    if (plans.has(subscription.topic)) {
      throw new StateferryError(
        'CONFIG_INVALID',
        `There are two subscriptions to the topic ${subscription.topic}. Put their methods into one.`,
      );
    }
    plans.set(subscription.topic, planOf(subscription));
  }

  function planOf(subscription: Subscription): Plan {
    const byType = new Map<string, Target>();
    for (const method of subscription.methods) {
      const other = byType.get(method.inputType);
      if (other !== undefined) {
        throw new StateferryError(
          'CONFIG_INVALID',
          `${nameOf(other.method)} and ${nameOf(method)} both take ${method.inputType} from the topic ${subscription.topic}; ` +
            'a record can go to one only. Remove one subscription, or give one method a type of its own.',
        );
      }
      const wellFormed =
        method.inputType === ANY ? undefined : wellFormedOf(messageType(descriptors, method.inputType));
      byType.set(method.inputType, { method, typeUrl: PROTOBUF_URL + method.inputType, wellFormed });
    }
    const [first] = byType.values();
    if (first === undefined) {
      throw new StateferryError(
        'CONFIG_INVALID',
        `The subscription to the topic ${subscription.topic} has no method. Name one, or remove the subscription.`,
      );
    }
    const ignored = new Set(subscription.ignored);
    return {
      subscription,
      maxBytes: subscription.maxBytes ?? maxBytes,
      byType,
      any: byType.get(ANY),
      only: byType.size === 1 && ignored.size === 0 ? first : undefined,
      ignored,
      reader: subscription.format === 'registry' ? readers.get(subscription.topic) : undefined,
    };
  }

  function decode(record: InputRecord): Decoded {
    const plan = plans.get(record.topic);
    if (plan === undefined) {
      throw new StateferryError(
        'CONFIG_INVALID',
        `A record of the topic ${record.topic} arrived, which no method is subscribed to. Subscribe one, or do not consume the topic.`,
      );
    }
    let target: Target | undefined;
    try {
      const { format } = plan.subscription;
      let headers = readHeaders(record.headers);
      if (plan.reader !== undefined) {
        const read = plan.reader.read(presentValue(record, plan.maxBytes));
        target = plan.byType.get(read.typeName);
        if (target === undefined || read.value === undefined) {
          if (isIgnored(plan, read.typeName)) return { kind: 'ignore' };
          return { kind: 'reject', error: unknownType(plan, read.typeName) };
        }
        return commandOf(plan, target.method, record, { typeUrl: target.typeUrl, value: read.value }, headers.metadata);
      }
      let content = contentOf(format, headers.contentType);
      let value: Buffer | undefined;
      if (content === 'structured') {
        const event = readStructuredEvent(presentValue(record, plan.maxBytes), headers.contentType, headers.metadata);
        headers = event;
        value = event.data;
        content = contentKind(event.contentType);
      } else if (format === 'cloudevents') checkAttributes(headers.metadata);
      const { metadata, ceType, contentType } = headers;
      target = targetOf(plan, ceType, content);
      if (target === undefined && isIgnored(plan, ceType)) return { kind: 'ignore' };
      value ??= presentValue(record, plan.maxBytes);
      if (target === undefined) return { kind: 'reject', error: unknownType(plan, ceType) };
      const payload =
        target.wellFormed === undefined
          ? anyPayload(content, value, ceType)
          : typedPayload(target, target.wellFormed, content, contentType, value);
      return commandOf(plan, target.method, record, payload, metadata);
    } catch (error) {
      if (!(error instanceof StateferryError) || error.fate !== 'reject') throw error;
      return { kind: 'reject', error, ...(target === undefined ? {} : { method: target.method }) };
    }
  }

  function typedPayload(
    target: Target,
    wellFormed: WellFormed,
    content: ContentKind,
    contentType: string | undefined,
    value: Buffer,
  ): Payload {
    const { inputType } = target.method;
    if ((content === 'text' && inputType === STRING_VALUE) || (content === 'bytes' && inputType === BYTES_VALUE)) {
      if (content === 'text') textOf(value);
      return { typeUrl: target.typeUrl, value: oneField(value) };
    }
    switch (content) {
      case 'protobuf':
      case 'bytes':
        wellFormed(value);
        return { typeUrl: target.typeUrl, value };
      case 'json':
        return { typeUrl: target.typeUrl, value: jsonToPayload(descriptors, inputType, textOf(value)) };
      case 'text':
      case 'other':
      case 'structured':
        throw new StateferryError(
          'RECORD_UNDECODABLE',
          `The record is of the content type ${contentType ?? 'text/plain (by the format of the subscription)'}, which cannot be read as a ${inputType}. ` +
            'Send protobuf or JSON and say so in its content-type header, or set the format of the subscription.',
        );
    }
  }

  function anyPayload(content: ContentKind, value: Buffer, ceType: string | undefined): Payload {
    switch (content) {
      case 'json':
        checkJson(textOf(value));
        return wrapJson(anyUrls, typeNameOf(ceType ?? '') || 'object', value);
      case 'text':
        textOf(value);
        return wrapString(anyUrls, value);
      case 'protobuf': {
        const typeName = typeNameOf(ceType ?? '');
        const type = descriptors.registry.getMessage(typeName);
        if (type === undefined) return wrapBytes(anyUrls, value);
        wellFormedOf(type)(value);
        return asProtobuf(typeName, value);
      }
      case 'bytes':
      case 'other':
      case 'structured':
        return wrapBytes(anyUrls, value);
    }
  }

  return { decode };
}

function commandOf(plan: Plan, method: Method, record: InputRecord, payload: Payload, metadata: Metadata): Decoded {
  const entityId = method.component.kind === 'action' ? '' : entityIdOf(plan.subscription, method, record, payload);
  return { kind: 'command', method, entityId, payload, metadata, replyTo: NOWHERE };
}

function presentValue(record: InputRecord, maxBytes: number): Buffer {
  const { value } = record;
  if (value === null) {
    throw new StateferryError(
      'RECORD_TOMBSTONE',
      `The record has no value; a tombstone is no command. To delete an entity, send it a command that does so.`,
    );
  }
  if (value.length > maxBytes) {
    throw new StateferryError(
      'RECORD_OVERSIZE',
      `The value has ${value.length} bytes, and at most ${maxBytes} are taken. Send less, or raise the limit.`,
    );
  }
  return value;
}

function targetOf(plan: Plan, ceType: string | undefined, content: ContentKind): Target | undefined {
  if (content === 'text' || content === 'bytes') {
    const isUntyped = ceType === undefined || ceType === (content === 'text' ? 'string' : 'bytes');
    const wrapper = isUntyped ? plan.byType.get(content === 'text' ? STRING_VALUE : BYTES_VALUE) : undefined;
    if (wrapper !== undefined) return wrapper;
  }
  if (ceType === undefined) return plan.only ?? plan.any;
  const typeName = typeNameOf(ceType);
  return plan.byType.get(typeName) ?? (plan.ignored.has(typeName) ? undefined : plan.any);
}

/** Of a record that no method takes. A method that takes Any and is ignored speaks for every other type. */
function isIgnored({ subscription, ignored }: Plan, ceType: string | undefined): boolean {
  if (subscription.ignoreUnknown || ignored.has(ANY)) return true;
  return ceType !== undefined && ignored.has(typeNameOf(ceType));
}

function unknownType(plan: Plan, ceType: string | undefined): StateferryError {
  const takes = [...plan.byType.values()].map(({ method }) => `${nameOf(method)} takes ${method.inputType}`).join(', ');
  return new StateferryError(
    'RECORD_UNKNOWN_TYPE',
    ceType === undefined
      ? `The record says no type, and of the topic's methods ${takes}. Set the header ce_type to one of these types.`
      : `The record is of type ${ceType}, and of the topic's methods ${takes}. Send one of these types, or let a method take this one.`,
  );
}

function contentOf(format: InputFormat, contentType: string | undefined): ContentKind {
  // A topic of the registry has a reader, and does not come here.
  const isTold = format === 'auto' || format === 'cloudevents' || format === 'registry';
  return isTold ? contentKind(contentType) : format;
}

/** That a record is a CloudEvent 1.0 in binary mode. */
function checkAttributes(metadata: Metadata): void {
  const missing = REQUIRED.filter((name) => (metadataValue(metadata, `ce-${name}`) ?? '') === '');
  const version = metadataValue(metadata, 'ce-specversion');
  if (missing.length === 0 && version === '1.0') return;
  throw new StateferryError(
    'RECORD_UNDECODABLE',
    missing.length > 0
      ? `The record is to be a CloudEvent, and has no header ${missing.map((name) => `ce_${name}`).join(', ')}. Send CloudEvents 1.0, or set the format of the subscription to auto.`
      : `The record is a CloudEvent of specversion ${JSON.stringify(version)}, and 1.0 is read. Send CloudEvents 1.0.`,
  );
}

function entityIdOf(subscription: Subscription, method: Method, record: InputRecord, payload: Payload): string {
  if (subscription.entityId !== 'field' && record.key !== null && record.key.length > 0) {
    const id = utf8Text(record.key);
    if (id === undefined) {
      throw new StateferryError(
        'RECORD_NO_ENTITY_ID',
        `The record key (${record.key.length} bytes) is not valid UTF-8, so it is no entity id. ` +
          'Write the key as text, or take the entity id from the entity key field (entityId: field).',
      );
    }
    return checkedEntityId(id, 'The record key');
  }
  const id = subscription.entityId === 'key' ? undefined : entityIdFromPayload(method, payload.value);
  if (id !== undefined) return id;
  throw new StateferryError('RECORD_NO_ENTITY_ID', noEntityId(subscription, method));
}

function noEntityId(subscription: Subscription, method: Method): string {
  const fields = method.entityKeyFields.map((field) => field.name).join(', ');
  const field =
    fields === ''
      ? `${method.inputType} marks no entity key field`
      : `the entity key field (${fields}) of the ${method.inputType} is empty`;
  switch (subscription.entityId) {
    case 'key':
      return 'The record has no key, and the key is to be the entity id. Give the record a key.';
    case 'field':
      return `The entity id is to be taken from the payload, but ${field}. Fill the field in, or take the entity id from the record key.`;
    case 'auto':
      return `The record has no key, and ${field}, so it is for no entity. Give the record a key.`;
  }
}

function textOf(value: Buffer): string {
  if (isUtf8(value)) return value.toString('utf8');
  throw new StateferryError(
    'RECORD_UNDECODABLE',
    `The value (${value.length} bytes) is to be text, but it is not valid UTF-8. Encode it as UTF-8, or correct the content-type header.`,
  );
}

function checkJson(text: string): void {
  try {
    JSON.parse(text);
  } catch (error) {
    throw new StateferryError(
      'RECORD_UNDECODABLE',
      `The value (${text.length} characters) is to be JSON, but it is not: ${messageOf(error)}. Correct it, or its content-type header.`,
      { cause: error },
    );
  }
}

function nameOf(method: Method): string {
  return `${method.component.service}.${method.name}`;
}
