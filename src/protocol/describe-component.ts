import { type DescField, type DescMessage, type DescMethod, ScalarType } from '@bufbuild/protobuf';
import { StateferryError } from '../errors.ts';
import type { Component, ComponentKind, Eventing, EventSource, KeyField, Method } from '../model/component.ts';
import { concerning } from './declarations.ts';
import type { Descriptors } from './descriptors.ts';
import type { EventingOption, OptionTable, SourceOption } from './options.ts';
import { readOption } from './read-option.ts';
import { fillIn } from './topic-template.ts';

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
  const serviceEventing = concerning(found, () => readOption(options.serviceEventing, found.proto.options, service));
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
      eventing: concerning(method, () =>
        eventing(readOption(options.methodEventing, method.proto.options, nameOf(method)), serviceEventing, (topic) =>
          fillIn(topic, variables, nameOf(method)),
        ),
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
      concerning(field, () => {
        if (readOption([mark], field.proto.options, `${input.typeName}.${field.name}`) !== true) return;
        keys.push({ number: field.number, name: field.name, scalar: keyScalar(input, field) });
      });
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
  if (source.from === 'direct') return { ...source, ...passedOver };
  const consumerGroup = own?.consumerGroup || service?.consumerGroup || '';
  if (source.from === 'topic') {
    return { from: 'topic', topic: topicName(source.topic), consumerGroup, ...passedOver };
  }
  return { ...source, consumerGroup, handleDeletes: own?.handleDeletes === true, ...passedOver };
}
