import { BYTES_VALUE, STRING_VALUE } from '../codec/any.ts';
import type { InputFormat } from '../codec/decode.ts';
import type { Destination, EventMode, OutputFormat } from '../codec/encode.ts';
import { StateferryError } from '../errors.ts';
import type { Component, FunctionSpec, Method } from '../model/component.ts';
import type { Feed } from '../model/feed.ts';
import { type FramedWriter, isSchemaFormat, type SubjectStrategy, type Subjects } from '../model/framed.ts';
import { planFeeds } from './feed-plan.ts';

/** In the configuration, `auto` keeps what the function gave, as `protobuf` does. */
type ConfiguredFormat = OutputFormat | 'auto';
/** Where a record's entity id is: its key, the entity-key field, or the key and, without one, the field. */
export type EntityIdFrom = 'auto' | 'key' | 'field';

/** Where a topic's schemas are, with a format of the registry. */
interface ConfiguredSubjects {
  readonly subjectNameStrategy?: SubjectStrategy | undefined;
  readonly subject?: string | undefined;
}

interface ConfiguredSchemas extends ConfiguredSubjects {
  readonly schemaVersion?: number | undefined;
  readonly types?: readonly string[] | undefined;
}

/** The wishes of the configuration, beside the SDK's annotations. */
export interface RouteConfig {
  readonly subscriptions: readonly (ConfiguredSubjects & {
    readonly topic: string;
    readonly service: string;
    readonly method: string;
    readonly format: InputFormat;
    readonly entityId: EntityIdFrom;
  })[];
  readonly replies: readonly (ConfiguredSchemas & {
    readonly service: string;
    readonly method: string;
    readonly topic: string;
    readonly format: ConfiguredFormat;
    /** Absent: `binary`. */
    readonly cloudevents?: EventMode;
  })[];
  /** Named by entity type, or by the service whose entities are meant. */
  readonly events: readonly (ConfiguredSchemas & {
    readonly entityType?: string | undefined;
    readonly service?: string | undefined;
    readonly topic: string;
    readonly format: ConfiguredFormat;
    /** Absent: `binary`. */
    readonly cloudevents?: EventMode;
  })[];
  /** The function's methods are served at the doors: it needs no topic. */
  readonly doors: boolean;
}

/** Methods that one topic feeds. */
export interface TopicRoute {
  readonly topic: string;
  readonly format: InputFormat;
  readonly entityId: EntityIdFrom;
  readonly ignoreUnknown: boolean;
  readonly methods: readonly Method[];
  /** Types whose records are passed over. */
  readonly ignored: readonly string[];
  /** With the format `registry`. */
  readonly subjects?: Subjects;
}

export type OutputRoute = Omit<Destination, 'partitions' | 'writer'> & {
  /** With a format of the schema registry; `types`: what the route writes. */
  readonly schemas?: Subjects & { readonly version: number | undefined; readonly types: readonly string[] };
};

/** Topic → methods, reply → topics, state events → topics: annotations and configuration in one. Pure. */
export interface RoutePlan {
  readonly inputs: readonly TopicRoute[];
  /** By `service/method`. */
  readonly replies: ReadonlyMap<string, readonly OutputRoute[]>;
  /** By entity type. */
  readonly events: ReadonlyMap<string, readonly OutputRoute[]>;
  /** What the annotations subscribe to of the function's own entities. */
  readonly feeds: readonly Feed[];
  /** What the annotations ask for and this version does not do; the rest runs. */
  readonly unserved: readonly string[];
}

const ANY = 'google.protobuf.Any';

export function methodKey(method: Method): string {
  return `${method.component.service}/${method.name}`;
}

/** @throws StateferryError FUNCTION_SPEC with every entry that the function has no method for, or that cannot be fed. */
export function planRoutes(spec: FunctionSpec, config: RouteConfig): RoutePlan {
  const faults: string[] = [];
  const unserved: string[] = [];
  const inputs = new Map<string, TopicRoute>();
  const replies = new Map<string, OutputRoute[]>();
  const events = new Map<string, OutputRoute[]>();
  const ignored: { topic: string; type: string }[] = [];

  const find = (service: string, name: string, where: string): Method | undefined => {
    const component = spec.components.get(service);
    const method = component?.methods.get(name);
    if (method === undefined) {
      const known = component === undefined ? [...spec.components.keys()] : [...component.methods.keys()];
      faults.push(`${where} names ${service}/${name}, and the function has ${known.join(', ')}`);
    }
    return method;
  };
  const feed = (method: Method, route: Omit<TopicRoute, 'methods' | 'ignored'>, where: string): void => {
    if (method.clientStreaming || method.serverStreaming) {
      faults.push(`${where} feeds ${methodKey(method)}, which streams; a topic can feed unary methods only`);
      return;
    }
    const wrapper = route.format === 'text' ? STRING_VALUE : route.format === 'bytes' ? BYTES_VALUE : undefined;
    if (wrapper !== undefined && method.inputType !== wrapper && method.inputType !== ANY) {
      faults.push(
        `${where} reads the topic "${route.topic}" as ${route.format}, and ${methodKey(method)} takes ${method.inputType}, where ${wrapper} or ${ANY} is right`,
      );
      return;
    }
    const before = inputs.get(route.topic);
    if (before !== undefined && (before.format !== route.format || before.entityId !== route.entityId)) {
      faults.push(`${where} reads the topic "${route.topic}" in another way than an entry before it`);
      return;
    }
    const clash = before?.methods.find((other) => other.inputType === method.inputType);
    if (clash !== undefined) {
      if (clash !== method) {
        faults.push(
          `${where} feeds ${methodKey(method)} with ${method.inputType} from "${route.topic}", which ${methodKey(clash)} takes already`,
        );
      }
      return;
    }
    inputs.set(route.topic, {
      ...route,
      ignoreUnknown: route.ignoreUnknown || (before?.ignoreUnknown ?? false),
      methods: [...(before?.methods ?? []), method],
      ignored: [],
    });
  };
  const publish = (map: Map<string, OutputRoute[]>, key: string, route: OutputRoute): void => {
    const routes = map.get(key) ?? [];
    if (!routes.some((other) => other.topic === route.topic)) routes.push(route);
    map.set(key, routes);
  };

  // The configuration comes first: where it speaks of the same topic as an annotation, it decides the format.
  for (const { topic, service, method: name, format, entityId, ...given } of config.subscriptions) {
    const where = `topics.subscriptions (topic "${topic}")`;
    const method = find(service, name, where);
    const subjects = format === 'registry' ? { subjects: subjectsOf(given) } : {};
    if (method !== undefined) feed(method, { topic, format, entityId, ignoreUnknown: false, ...subjects }, where);
  }
  for (const { service, method: name, topic, ...how } of config.replies) {
    const where = `topics.destinations.replies (topic "${topic}")`;
    const method = find(service, name, where);
    if (method === undefined) continue;
    if (how.format === 'text' && ![STRING_VALUE, ANY].includes(method.outputType)) {
      faults.push(
        `${where} writes the replies of ${methodKey(method)} as text, and they are ${method.outputType}, where ${STRING_VALUE} or ${ANY} is right`,
      );
    } else publish(replies, methodKey(method), outputRoute(topic, how, [method.outputType]));
  }
  const entities = [...spec.components.values()].filter((component) => component.kind !== 'action');
  for (const { entityType, service, topic, ...how } of config.events) {
    const component = entities.find((c) =>
      entityType === undefined ? c.service === service : c.entityType === entityType,
    );
    if (component?.kind === 'replicated') {
      faults.push(
        `topics.destinations.events (topic "${topic}") names ${entityType ?? service}, which is a replicated entity, whose changes are not ` +
          'published; publish the replies of its methods instead (topics.destinations.replies)',
      );
    } else if (component !== undefined) publish(events, component.entityType, outputRoute(topic, how, []));
    else {
      const known = entities.map((c) => (entityType === undefined ? c.service : c.entityType)).join(', ') || 'none';
      faults.push(
        `topics.destinations.events (topic "${topic}") names ${entityType ?? service}, and the function's entities are ${known}`,
      );
    }
  }
  for (const method of methodsOf(spec)) {
    const { in: source, outTopic } = method.eventing;
    if (source?.ignore === true) {
      if (source.from === 'topic') ignored.push({ topic: source.topic, type: method.inputType });
    } else if (source?.from === 'topic') {
      const before = inputs.get(source.topic);
      feed(
        method,
        {
          topic: source.topic,
          format: before?.format ?? 'auto',
          entityId: before?.entityId ?? 'auto',
          ignoreUnknown: source.ignoreUnknown,
          ...(before?.subjects !== undefined && { subjects: before.subjects }),
        },
        `the annotation of ${methodKey(method)}`,
      );
    } else if (source?.from === 'direct') {
      unserved.push(
        `${methodKey(method)} subscribes directly to the service "${source.service}", which this version of Stateferry does not carry; ` +
          'let that service publish to a topic, and subscribe to the topic',
      );
    }
    if (outTopic !== undefined) publish(replies, methodKey(method), { topic: outTopic, format: 'protobuf' });
  }
  for (const { topic, type } of ignored) {
    // A topic of which nothing else is wanted need not be read; and what the configuration feeds is not ignored.
    const route = inputs.get(topic);
    if (route === undefined || route.methods.some(({ inputType }) => inputType === type)) continue;
    inputs.set(topic, { ...route, ignored: [...route.ignored, type] });
  }
  const { feeds, faults: misfits } = planFeeds(spec);
  faults.push(...misfits);
  if (faults.length === 0 && inputs.size === 0 && feeds.length === 0 && !config.doors) {
    faults.push(
      'nothing leads to the function: annotate a unary method with a topic, add one to topics.subscriptions, or enable the doors',
    );
  }
  if (faults.length > 0) {
    throw new StateferryError(
      'FUNCTION_SPEC',
      `the routes do not fit the function:\n${faults.map((f) => `  - ${f}`).join('\n')}`,
    );
  }
  return { inputs: [...inputs.values()], replies, events, feeds, unserved };
}

function subjectsOf({ subjectNameStrategy: strategy = 'TopicNameStrategy', subject }: ConfiguredSubjects): Subjects {
  return { strategy, subject };
}

/** `types`: what goes there whatever the configuration says. */
function outputRoute(
  topic: string,
  how: ConfiguredSchemas & { readonly format: ConfiguredFormat; readonly cloudevents?: EventMode },
  types: readonly string[],
): OutputRoute {
  const { format, cloudevents = 'binary', schemaVersion: version, types: others = [] } = how;
  return {
    topic,
    format: format === 'auto' ? 'protobuf' : format,
    ...(cloudevents !== 'binary' && { events: cloudevents }),
    ...(isSchemaFormat(format) && {
      schemas: { ...subjectsOf(how), version, types: [...new Set([...types, ...others])] },
    }),
  };
}

function* methodsOf(spec: FunctionSpec): Generator<Method> {
  for (const component of spec.components.values()) yield* component.methods.values();
}

/** Every topic that the plan publishes to. */
export function outputTopics(plan: RoutePlan): string[] {
  const topics = new Set<string>();
  for (const routes of [...plan.replies.values(), ...plan.events.values()])
    for (const { topic } of routes) topics.add(topic);
  return [...topics];
}

/** A plan whose topics' partition counts are known: what `decide` looks destinations up in. */
export interface Routes {
  repliesOf(method: Method): readonly Destination[];
  eventsOf(component: Component): readonly Destination[];
  /** Feeds of the component's events or values. */
  feedsOf(component: Component): readonly Feed[];
  /** The destination that a chain of forwards carries by its topic's name. */
  destination(topic: string): Destination | undefined;
  resolve(service: string, method: string): Method | undefined;
}

const NOWHERE: readonly Destination[] = [];
const NO_FEEDS: readonly Feed[] = [];

/** `writers`: by topic, of those that are written with schemas of the registry. */
export function createRoutes(
  spec: FunctionSpec,
  plan: RoutePlan,
  partitions: ReadonlyMap<string, number>,
  writers: ReadonlyMap<string, FramedWriter> = new Map(),
): Routes {
  const byTopic = new Map<string, Destination>();
  const toDestination = ({ schemas: _, ...route }: OutputRoute): Destination => {
    const { topic } = route;
    const writer = writers.get(topic);
    const destination = { ...route, partitions: partitions.get(topic) ?? 1, ...(writer && { writer }) };
    if (!byTopic.has(topic)) byTopic.set(topic, destination);
    return destination;
  };
  const replies = new Map([...plan.replies].map(([key, routes]) => [key, routes.map(toDestination)]));
  const events = new Map([...plan.events].map(([key, routes]) => [key, routes.map(toDestination)]));
  // By identity: the way of a record looks these up without building a string.
  const byMethod = new Map<Method, readonly Destination[]>();
  for (const method of methodsOf(spec)) byMethod.set(method, replies.get(methodKey(method)) ?? NOWHERE);
  const feeds = new Map<Component, readonly Feed[]>();
  for (const component of spec.components.values()) {
    const own = plan.feeds.filter((f) => f.source === component.kind && f.entityType === component.entityType);
    if (own.length > 0) feeds.set(component, own);
  }
  return {
    repliesOf: (method) => byMethod.get(method) ?? NOWHERE,
    eventsOf: (component) => events.get(component.entityType) ?? NOWHERE,
    feedsOf: (component) => feeds.get(component) ?? NO_FEEDS,
    destination: (topic) => byTopic.get(topic),
    resolve: (service, method) => spec.components.get(service)?.methods.get(method),
  };
}
