import { type DescField, type DescMessage, type DescMethod, type Message, ScalarType } from '@bufbuild/protobuf';
import { Reader } from 'protobufjs/minimal.js';
import { messageOf, StateferryError } from '../errors.ts';
import type { Component, ComponentKind, Eventing, EventSource, KeyField, Method } from '../model/component.ts';
import type { Descriptors } from './descriptors.ts';
import type { EventingOption, ExtensionValue, OptionTable, SourceOption } from './options.ts';
import { fillIn } from './topic-template.ts';

/** Protobuf's wire type of a length-delimited field; options hold nothing else but these and varints. */
const LENGTH_DELIMITED = 2;
const VARINT = 0;

const KEY_SCALARS: ReadonlyMap<ScalarType, KeyField['scalar']> = new Map([
  [ScalarType.STRING, 'string'],
  [ScalarType.BOOL, 'bool'],
  [ScalarType.INT32, 'varint'],
  [ScalarType.INT64, 'varint'],
  [ScalarType.UINT32, 'varint'],
  [ScalarType.UINT64, 'varint'],
  [ScalarType.SINT32, 'sint'],
  [ScalarType.SINT64, 'sint'],
  [ScalarType.FIXED32, 'fixed32'],
  [ScalarType.SFIXED32, 'sfixed32'],
  [ScalarType.FIXED64, 'fixed64'],
  [ScalarType.SFIXED64, 'sfixed64'],
]);

/**
 * One line of discovery, with what the descriptor set says about the service: its methods, the entity key fields of
 * their inputs (marked on the input message itself; marks inside its sub-messages do not count), and their eventing,
 * where a service's own annotation is the default of its methods.
 *
 * `${NAME}` in a topic's name stands for one of `variables`. Throws FUNCTION_SPEC for a service that the descriptor set
 * does not have, a key mark on a field that cannot be a key, and a variable that is not set.
 */
export function describeComponent(given: {
  readonly descriptors: Descriptors;
  readonly kind: ComponentKind;
  /** Full name of the gRPC service. */
  readonly service: string;
  readonly entityType: string;
  /** Milliseconds. */
  readonly passivationMs?: number;
  readonly options: OptionTable;
  readonly variables?: ReadonlyMap<string, string>;
}): Component {
  const { descriptors, service, options, variables = new Map() } = given;
  const found = descriptors.registry.getService(service);
  if (found === undefined) {
    throw new StateferryError(
      'FUNCTION_SPEC',
      `The function announces the service ${service}, but its descriptor set does not have it; the services that it has are: ` +
        `${serviceNames(descriptors).join(', ') || 'none'}. Add the .proto file of ${service} to the function's descriptor set.`,
    );
  }
  const serviceEventing = read(options.serviceEventing, found.proto.options, service);
  const methods = new Map<string, Method>();
  const component: Component = {
    kind: given.kind,
    service,
    entityType: given.entityType,
    methods,
    ...(given.passivationMs === undefined ? {} : { passivationMs: given.passivationMs }),
  };
  for (const method of found.methods) {
    methods.set(method.name, {
      name: method.name,
      component,
      inputType: method.input.typeName,
      outputType: method.output.typeName,
      clientStreaming: method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming',
      serverStreaming: method.methodKind === 'server_streaming' || method.methodKind === 'bidi_streaming',
      entityKeyFields: keyFields(method.input, options),
      eventing: eventing(read(options.methodEventing, method.proto.options, nameOf(method)), serviceEventing, (topic) =>
        fillIn(topic, variables, nameOf(method)),
      ),
    });
  }
  return component;
}

function serviceNames(descriptors: Descriptors): string[] {
  const names: string[] = [];
  for (const type of descriptors.registry) if (type.kind === 'service') names.push(type.typeName);
  return names.sort();
}

function nameOf(method: DescMethod): string {
  return `${method.parent.typeName}.${method.name}`;
}

function keyFields(input: DescMessage, options: OptionTable): KeyField[] {
  for (const mark of options.entityKey) {
    const keys: KeyField[] = [];
    for (const field of input.fields) {
      if (read([mark], field.proto.options, `${input.typeName}.${field.name}`) !== true) continue;
      keys.push({ number: field.number, name: field.name, scalar: keyScalar(input, field) });
    }
    if (keys.length > 0) return keys;
  }
  return [];
}

function keyScalar(input: DescMessage, field: DescField): KeyField['scalar'] {
  const scalar = field.fieldKind === 'scalar' ? KEY_SCALARS.get(field.scalar) : undefined;
  if (scalar !== undefined) return scalar;
  // Leaving the field out would make one entity of several where the key has more fields than this one.
  throw new StateferryError(
    'FUNCTION_SPEC',
    `The field ${field.name} of ${input.typeName} is marked as entity key, but only a single string, bool or integer can be one. ` +
      'Mark another field.',
  );
}

function eventing(
  own: EventingOption | undefined,
  service: EventingOption | undefined,
  topicName: (template: string) => string,
): Eventing {
  const source = eventSource(own?.in, service?.in, topicName);
  return {
    ...(source === undefined ? {} : { in: source }),
    ...(own?.outTopic === undefined ? {} : { outTopic: topicName(own.outTopic) }),
  };
}

function eventSource(
  own: SourceOption | undefined,
  service: SourceOption | undefined,
  topicName: (template: string) => string,
): EventSource | undefined {
  const source = own?.source ?? service?.source;
  if (source === undefined) return undefined;
  const passedOver = {
    ignore: own?.ignore === true,
    ignoreUnknown: own?.ignoreUnknown === true || service?.ignoreUnknown === true,
  };
  if (source.from !== 'topic') return { ...source, ...passedOver };
  return {
    from: 'topic',
    topic: topicName(source.topic),
    consumerGroup: own?.consumerGroup || service?.consumerGroup || '',
    ...passedOver,
  };
}

/** The first extension of the table that the options message carries. */
function read<T>(
  table: Iterable<readonly [number, (value: ExtensionValue) => T | undefined]>,
  options: Message | undefined,
  where: string,
): T | undefined {
  if (options?.$unknown === undefined) return undefined;
  try {
    for (const [number, decode] of table) {
      const value = extension(options, number);
      const decoded = value === undefined ? undefined : decode(value);
      if (decoded !== undefined) return decoded;
    }
  } catch (error) {
    throw new StateferryError(
      'FUNCTION_SPEC',
      `The options of ${where} in the function's descriptor set cannot be read: ${messageOf(error)}. ` +
        "Build the function's .proto files again with its SDK's compiler.",
      { cause: error },
    );
  }
  return undefined;
}

/** The extension `number` as the descriptor set has it: the last bool, or all the occurrences of a message merged. */
function extension(options: Message, number: number): ExtensionValue | undefined {
  let truth: boolean | undefined;
  const parts: Uint8Array[] = [];
  for (const field of options.$unknown ?? []) {
    if (field.no !== number) continue;
    if (field.wireType === VARINT) truth = Reader.create(field.data).bool();
    else if (field.wireType === LENGTH_DELIMITED) parts.push(Reader.create(field.data).bytes());
  }
  return parts.length > 0 ? Buffer.concat(parts) : truth;
}
