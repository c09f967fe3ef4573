import { type AccessOptions, KALIX_ACCESS } from './access-options.ts';
import { type ExtensionValue, eachField, ifMessage, isTrue, lastBool, lastString, within } from './option-bytes.ts';

/** What an SDK's annotation says about where a method's commands come from, before service and method are merged. */
export interface SourceOption {
  readonly consumerGroup: string;
  readonly source?:
    | { readonly from: 'topic'; readonly topic: string }
    | { readonly from: 'event-sourced' | 'value'; readonly entityType: string }
    | { readonly from: 'direct'; readonly service: string };
  /** The function takes no interest in messages of this method's input type. */
  readonly ignore: boolean;
  /** Messages that no method takes are passed over. */
  readonly ignoreUnknown: boolean;
  /** The method takes the deletions of a value entity; absent: no. */
  readonly handleDeletes?: boolean;
}

/** The eventing annotation of one method or one service. */
export interface EventingOption {
  readonly in?: SourceOption;
  readonly outTopic?: string;
}

/**
 * How one family of SDKs marks things in the descriptor set: for each place the extension numbers it uses, with a
 * function that reads the value. A value of an unexpected wire type reads as "not marked".
 */
export interface OptionTable {
  /**
   * Of a field: is it (a part of) the entity key? The first mark that a message carries on any field is the one that
   * counts for that message.
   */
  readonly entityKey: readonly (readonly [number, (value: ExtensionValue) => boolean])[];
  readonly methodEventing: ReadonlyMap<number, (value: ExtensionValue) => EventingOption | undefined>;
  readonly serviceEventing: ReadonlyMap<number, (value: ExtensionValue) => EventingOption | undefined>;
  /** Who may call; absent: these SDKs have no such annotations. */
  readonly access?: AccessOptions;
}

const LEGACY_ENTITY_KEY = 50002;

/**
 * Cloudstate, both generations: entity key 50002 (first) or 1080 (last), a bool; method eventing 50003 with topic names
 * as strings (first) or 1081 with messages (last).
 */
export const CLOUDSTATE_OPTIONS: OptionTable = {
  entityKey: [
    [1080, isTrue],
    [LEGACY_ENTITY_KEY, isTrue],
  ],
  methodEventing: new Map([
    [50003, ifMessage(readFirstEventing)],
    [1081, ifMessage((bytes) => readEventing(bytes, readEventLogSource))],
  ]),
  serviceEventing: new Map(),
};

/**
 * Akka Serverless and Kalix: a message under 1080 in each place. FieldOptions.1 is the entity key, MethodOptions.1 the
 * method's eventing, ServiceOptions.4 the service's; 50002 is still understood. FieldOptions.3 is the id of later Kalix
 * SDKs (a workflow's key in earlier ones), so it counts where nothing is marked as the entity key.
 */
export const KALIX_OPTIONS: OptionTable = {
  entityKey: [
    [1080, (value) => value instanceof Uint8Array && lastBool(value, 1)],
    [LEGACY_ENTITY_KEY, isTrue],
    [1080, (value) => value instanceof Uint8Array && lastBool(value, 3)],
  ],
  methodEventing: new Map([[1080, ifMessage((bytes) => within(bytes, 1, (inner) => readEventing(inner, readSource)))]]),
  serviceEventing: new Map([
    [1080, ifMessage((bytes) => within(bytes, 4, (inner) => readEventing(inner, readSource)))],
  ]),
  access: KALIX_ACCESS,
};

/** `Eventing { string in = 1; string out = 2; }`, where the topic name 'discard' stands for no topic. */
function readFirstEventing(bytes: Uint8Array): EventingOption {
  let topicIn = '';
  let topicOut = '';
  eachField(bytes, (field, wire, reader) => {
    if (wire !== 2) return false;
    if (field === 1) topicIn = reader.string();
    else if (field === 2) topicOut = reader.string();
    else return false;
    return true;
  });
  return {
    ...(topicIn === ''
      ? {}
      : { in: { consumerGroup: '', source: { from: 'topic', topic: topicIn }, ignore: false, ignoreUnknown: false } }),
    ...(topicOut === '' || topicOut === 'discard' ? {} : { outTopic: topicOut }),
  };
}

/** `Eventing { EventSource in = 1; EventDestination out = 2; }` with `EventDestination { string topic = 1; }`. */
function readEventing(bytes: Uint8Array, readIn: (bytes: Uint8Array) => SourceOption): EventingOption {
  const source = within(bytes, 1, readIn);
  const outTopic = within(bytes, 2, (inner) => lastString(inner, 1));
  return {
    ...(source === undefined ? {} : { in: source }),
    ...(outTopic === undefined || outTopic === '' ? {} : { outTopic }),
  };
}

/** Cloudstate's last: `EventSource { string consumer_group = 1; string topic = 2; string event_log = 3; }`. */
function readEventLogSource(bytes: Uint8Array): SourceOption {
  let consumerGroup = '';
  let source: SourceOption['source'];
  eachField(bytes, (field, wire, reader) => {
    if (wire !== 2) return false;
    if (field === 1) consumerGroup = reader.string();
    else if (field === 2) source = { from: 'topic', topic: reader.string() };
    else if (field === 3) source = { from: 'event-sourced', entityType: reader.string() };
    else return false;
    return true;
  });
  return { consumerGroup, ...(source === undefined ? {} : { source }), ignore: false, ignoreUnknown: false };
}

/**
 * Akka Serverless and Kalix: 1 consumer_group; one of 2 topic, 3 event_sourced_entity, 4 value_entity, 7 direct
 * { 1 service }; 5 ignore; 6 ignore_unknown; 8 handle_deletes.
 */
function readSource(bytes: Uint8Array): SourceOption {
  let consumerGroup = '';
  let source: SourceOption['source'];
  eachField(bytes, (field, wire, reader) => {
    if (wire !== 2) return false;
    if (field === 1) consumerGroup = reader.string();
    else if (field === 2) source = { from: 'topic', topic: reader.string() };
    else if (field === 3) source = { from: 'event-sourced', entityType: reader.string() };
    else if (field === 4) source = { from: 'value', entityType: reader.string() };
    else if (field === 7) source = { from: 'direct', service: lastString(reader.bytes(), 1) };
    else return false;
    return true;
  });
  return {
    consumerGroup,
    ...(source === undefined ? {} : { source }),
    ignore: lastBool(bytes, 5),
    ignoreUnknown: lastBool(bytes, 6),
    handleDeletes: lastBool(bytes, 8),
  };
}
