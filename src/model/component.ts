/** What kind of thing a component is, whatever its dialect calls it. */
export type ComponentKind = 'event-sourced' | 'value' | 'replicated' | 'action';

/**
 * One method of a component's gRPC service, as the descriptor declares it.
 * Type names are full protobuf names without a leading dot.
 */
export interface Method {
  /** Short name, as it goes over the wire in a command. */
  readonly name: string;
  readonly component: Component;
  readonly inputType: string;
  readonly outputType: string;
  readonly clientStreaming: boolean;
  readonly serverStreaming: boolean;
  /** Field numbers of the input message that together are the entity id, in order of declaration; empty when none is marked. */
  readonly entityKeyFields: readonly KeyField[];
  readonly eventing: Eventing;
}

/** A field of an input message that is (a part of) the entity key. */
export interface KeyField {
  readonly number: number;
  readonly name: string;
  /** How the bytes are read: see codec/entity-key.ts. */
  readonly scalar: 'string' | 'bool' | 'varint' | 'sint' | 'fixed32' | 'sfixed32' | 'fixed64' | 'sfixed64';
}

/** Where a method's commands come from and where its replies go, by the SDK's annotations. */
export interface Eventing {
  readonly in?: EventSource;
  /** Topic that replies are published to. */
  readonly outTopic?: string;
}

export type EventSource = (
  | { readonly from: 'topic'; readonly topic: string; readonly consumerGroup: string }
  | {
      /** The events of an event sourced entity, or the changes of a value. */
      readonly from: 'event-sourced' | 'value';
      readonly entityType: string;
      readonly consumerGroup: string;
      /** The method takes the deletion of a value, and nothing else. */
      readonly handleDeletes: boolean;
    }
  /** The events that another service hands out directly. */
  | { readonly from: 'direct'; readonly service: string }
) & {
  /** Messages of the method's input type are passed over: the method is there to say so, and is not called. */
  readonly ignore: boolean;
  /** Messages that no method takes are passed over. */
  readonly ignoreUnknown: boolean;
};

/** One line of discovery: an addressable gRPC service of the function. */
export interface Component {
  readonly kind: ComponentKind;
  /** Full name of the gRPC service, for example `shop.CartService`. */
  readonly service: string;
  /** The namespace of its entities in the journal (persistence id, entity type); the service name for actions. */
  readonly entityType: string;
  readonly methods: ReadonlyMap<string, Method>;
  /** Milliseconds an entity may be idle before it is passivated; undefined: the config's default. */
  readonly passivationMs?: number;
}

/** Everything that one discovery tells, in the model's words. */
export interface FunctionSpec {
  readonly dialect: string;
  readonly protocolVersion: string;
  readonly serviceName: string;
  readonly supportLibrary: string;
  readonly components: ReadonlyMap<string, Component>;
  /** Stable digest of descriptor and components: two discoveries with the same digest are the same function. */
  readonly digest: string;
}
