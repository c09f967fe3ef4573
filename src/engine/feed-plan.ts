import type { Component, EventSource, FunctionSpec, Method } from '../model/component.ts';
import type { Feed, FeedKey } from '../model/feed.ts';

/** The last of a message's types: it takes everything. */
const ANY = 'google.protobuf.Any';
const EMPTY = 'google.protobuf.Empty';

type JournalSource = Extract<EventSource, { readonly from: 'event-sourced' | 'value' }>;

/**
 * What the annotations subscribe to of the function's own entities. Methods of one consumer group (or, without one, of one
 * service) and one entity type are one feed. Pure; `faults`: what does not fit, a sentence each.
 */
export function planFeeds(spec: FunctionSpec): { readonly feeds: readonly Feed[]; readonly faults: readonly string[] } {
  const faults: string[] = [];
  const feeds = new Map<string, { -readonly [K in keyof Feed]: Feed[K] }>();
  for (const component of spec.components.values()) {
    for (const method of component.methods.values()) {
      const source = method.eventing.in;
      if (source === undefined || source.from === 'topic' || source.from === 'direct') continue;
      const key = keyOf(component, source);
      const feed = feeds.get(idOf(key)) ?? { ...key, methods: [], ignored: [], ignoreUnknown: false };
      const fault = faultOf(spec, method, source, feed);
      if (fault !== undefined) {
        faults.push(fault);
        continue;
      }
      feeds.set(idOf(key), feed);
      feed.ignoreUnknown ||= source.ignoreUnknown;
      if (source.ignore) feed.ignored = [...feed.ignored, method.inputType];
      else if (source.handleDeletes) feed.deletes = method;
      else feed.methods = [...feed.methods, method];
    }
  }
  // One that only ignores wants nothing.
  const wanted = [...feeds.values()].filter(({ methods, deletes }) => methods.length > 0 || deletes !== undefined);
  return { feeds: wanted, faults };
}

function keyOf({ service }: Component, { from, entityType, consumerGroup }: JournalSource): FeedKey {
  return { name: consumerGroup === '' ? service : consumerGroup, source: from, entityType };
}

function idOf({ name, source, entityType }: FeedKey): string {
  return `${source}\0${entityType}\0${name}`;
}

function faultOf(spec: FunctionSpec, method: Method, source: JournalSource, feed: Feed): string | undefined {
  const where = `the annotation of ${nameOf(method)}`;
  const entities = [...spec.components.values()].filter(({ kind }) => kind === source.from);
  if (!entities.some(({ entityType }) => entityType === source.entityType)) {
    const known = entities.map(({ entityType }) => entityType).join(', ') || 'none';
    return `${where} names the ${source.from} entity type "${source.entityType}", and the function's are ${known}`;
  }
  if (source.ignore) return undefined;
  if (method.clientStreaming || method.serverStreaming) {
    return `${where} feeds a method that streams; events can feed unary methods only`;
  }
  if (source.handleDeletes && source.from !== 'value') {
    return `${where} takes deletions, which only value entities tell of`;
  }
  if (source.handleDeletes && method.inputType !== EMPTY) {
    return `${where} takes deletions with ${method.inputType}; a deletion has nothing to tell, so the input is ${EMPTY}`;
  }
  if (method.component.kind !== 'action' && method.entityKeyFields.length === 0) {
    return `${where} feeds an entity, and ${method.inputType} marks no entity key field to tell which one`;
  }
  const clash = source.handleDeletes
    ? feed.deletes
    : feed.methods.find((other) => other.inputType === method.inputType);
  if (clash === undefined) return undefined;
  const what = source.handleDeletes ? 'deletions' : method.inputType;
  return `${where} takes ${what} of "${source.entityType}", which ${nameOf(clash)} takes already`;
}

/** The method that takes what has this type; undefined: none. */
export function methodFor(feed: Feed, typeName: string, isProtobuf: boolean): Method | 'ignored' | undefined {
  const own = isProtobuf ? feed.methods.find(({ inputType }) => inputType === typeName) : undefined;
  if (own !== undefined) return own;
  if (isProtobuf && feed.ignored.includes(typeName)) return 'ignored';
  const any = feed.methods.find(({ inputType }) => inputType === ANY);
  if (any !== undefined) return any;
  // A method that takes Any and is ignored speaks for every other type.
  return feed.ignoreUnknown || feed.ignored.includes(ANY) ? 'ignored' : undefined;
}

function nameOf(method: Method): string {
  return `${method.component.service}/${method.name}`;
}
