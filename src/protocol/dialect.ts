import type { ComponentKind } from '../model/component.ts';
import type { Answer, Effect, SideEffect } from '../model/effect.ts';
import type { Metadata, Payload } from '../model/payload.ts';
import type { ReplicatedDelta } from '../model/replicated.ts';
import type { AnyUrls } from './any-urls.ts';
import type { OptionTable } from './options.ts';

/** What the runtime says of itself in discovery. */
export interface ProxyInfo {
  readonly name: string;
  readonly version: string;
  /** Where the function reaches the runtime (dialect D uses them for its component clients; '' and 0 are taken literally). */
  readonly hostname: string;
  readonly port: number;
  readonly devMode: boolean;
  /** What the function adds to its calls of the runtime, so that they are known to be its own; absent: nothing. */
  readonly selfIdentification?: { readonly header: string; readonly value: string };
}

/** Metadata keys under which a function finds who calls. */
export interface CallerKeys {
  /** `internet`, or `self` for the function itself. */
  readonly source: string;
  /** Name of the service that calls. */
  readonly service: string;
  /** Before the name of each claim of the token that was verified: texts as they are, all else as JSON. */
  readonly claimPrefix: string;
}

/** Discovery's answer, in one shape for all dialects; option bytes and descriptors are not read yet. */
export interface RawSpec {
  readonly fileDescriptorSet: Uint8Array;
  readonly components: readonly RawComponent[];
  readonly serviceName: string;
  readonly serviceRuntime: string;
  readonly supportLibrary: string;
  readonly supportLibraryVersion: string;
  readonly protocolMajor: number;
  readonly protocolMinor: number;
  /** Values for `${NAME}` in topic names. Kalix' Java SDK tells its whole environment, secrets included: not to be kept. */
  readonly variables: ReadonlyMap<string, string>;
}

export interface RawComponent {
  /** Full name of the protocol's service, for example `kalix.component.action.Actions`. */
  readonly type: string;
  readonly service: string;
  /** Persistence namespace; '' when discovery names none. Means nothing for an action. */
  readonly entityType: string;
  readonly passivationMs: number | undefined;
}

/** A command as an entity stream carries it. */
export interface WireCommand {
  readonly entityId: string;
  /** 1, 2, 3 in each stream. */
  readonly id: number;
  readonly name: string;
  readonly payload: Payload;
  readonly metadata: Metadata;
  /** The caller takes more than one answer (replicated entities of A and B). */
  readonly streamed?: boolean;
}

/** One more message for the caller of a streamed command, whenever the function likes. */
export interface StreamedMessage {
  /** Of the streamed command. */
  readonly commandId: number;
  readonly answer: Answer;
  readonly sideEffects: readonly SideEffect[];
  /** The last one. */
  readonly isEnd: boolean;
}

/** One message from a function's entity stream. */
export type EntityOut =
  | { readonly kind: 'reply'; readonly commandId: number; readonly effect: Effect }
  /** Stream-level failure; commandId 0 means the command in flight (PROTOCOLS 5). */
  | {
      readonly kind: 'failure';
      readonly commandId: number;
      readonly description: string;
      readonly grpcStatus: number | undefined;
    }
  | { readonly kind: 'streamed'; readonly message: StreamedMessage }
  /** What the function does about a caller that has gone. */
  | { readonly kind: 'cancelled'; readonly commandId: number; readonly effect: Effect }
  | { readonly kind: 'unknown' };

/** What an entity starts from. */
export interface EntityInit {
  readonly service: string;
  readonly entityId: string;
  /** Event sourced: snapshot and the sequence of the last event in it. */
  readonly snapshot?: { readonly seq: number; readonly payload: Payload };
  /** Value: the state; absent for a new or deleted one. */
  readonly state?: Payload;
  /** Replicated: what gives the value from nothing; absent for a new or deleted one. */
  readonly delta?: ReplicatedDelta;
}

/** The stream of one entity kind in one dialect. */
export interface EntityProtocol {
  /** gRPC path of the bidirectional stream. */
  readonly path: string;
  encodeInit(init: EntityInit): Uint8Array;
  encodeCommand(command: WireCommand): Uint8Array;
  decodeOut(bytes: Uint8Array): EntityOut;
}

export interface EventSourcedProtocol extends EntityProtocol {
  encodeEvent(seq: number, payload: Payload): Uint8Array;
  /** How an entity is asked for its state, after init and between commands; absent: the dialect has no such question. */
  readonly state?: {
    encodeRequest(id: number): Uint8Array;
    /** The state in a message of the function's; undefined for any other message. */
    decodeReply(bytes: Uint8Array): Payload | undefined;
  };
}

/** @throws StateferryError ENTITY_UNREADABLE, from both that take a delta, where the dialect has no such data type. */
export interface ReplicatedProtocol extends EntityProtocol {
  /** Between commands: a change of the value that the function holds. */
  encodeDelta(delta: ReplicatedDelta): Uint8Array;
  /** The caller of a streamed command is gone; absent: the dialect streams no answers of entities. */
  readonly encodeStreamCancelled?: (stream: { readonly entityId: string; readonly id: number }) => Uint8Array;
}

/** A command as an action's call carries it, without its payload. */
export interface ActionCall {
  readonly service: string;
  readonly name: string;
  readonly metadata: Metadata;
}

/** The calls of actions in one dialect. */
export interface ActionProtocol {
  /** gRPC paths, by what is streamed. */
  readonly paths: {
    readonly unary: string;
    readonly streamedIn: string;
    readonly streamedOut: string;
    readonly streamed: string;
  };
  /** The one request of a call that streams nothing in. */
  encodeCommand(call: ActionCall, payload: Payload): Uint8Array;
  /** The request of a call that streams in (PROTOCOLS 8). */
  openInput(call: ActionCall): {
    /** Sent as soon as the call opens: it names the method, and carries no payload. Absent: the dialect has no such message. */
    readonly first?: Uint8Array;
    encode(payload: Payload): Uint8Array;
  };
  decodeResponse(bytes: Uint8Array): Effect;
}

/** Where something stands in a .proto file of the function; lines and columns count from 0. */
export interface SourceLocation {
  readonly file: string;
  /** As `source_code_info` counts. */
  readonly path: readonly number[];
  readonly startLine: number;
  readonly startColumn: number;
  readonly endLine: number;
  readonly endColumn: number;
}

/** What `reportError` tells the function. */
export interface UserFunctionError {
  readonly code: string;
  readonly message: string;
  readonly detail: string;
  /** What it is about; dialects without places leave it out. */
  readonly location?: SourceLocation | undefined;
}

/** One wire protocol: a table, and the few functions that a table cannot say. Everything inward speaks the model. */
export interface Dialect {
  readonly name: string;
  /** What a function of this dialect says that it speaks; 0.0: it says nothing. */
  readonly version: { readonly major: number; readonly minor: number };
  /** Two dialects may have the same one; `kinds` and `version` then tell them apart. */
  readonly discoverPath: string;
  readonly reportErrorPath: string;
  readonly proxyTerminatedPath: string | undefined;
  readonly kinds: ReadonlyMap<string, ComponentKind>;
  /** Component types that exist in the protocol and that this version does not serve. */
  readonly unserved: ReadonlyMap<string, string>;
  /** How users annotate their own .proto files. */
  readonly options: OptionTable;
  readonly anyUrls: AnyUrls;
  /** Absent: nothing tells a function of this dialect who calls. */
  readonly callerKeys?: CallerKeys;
  readonly eventSourced: EventSourcedProtocol;
  /** Absent where no component type is a value entity. */
  readonly value?: EntityProtocol;
  readonly replicated: ReplicatedProtocol;
  readonly action: ActionProtocol;
  /** The version in it is never 0.0, which is a version probe (PROTOCOLS 2). */
  encodeProxyInfo(info: ProxyInfo): Uint8Array;
  decodeSpec(bytes: Uint8Array): RawSpec;
  encodeError(error: UserFunctionError): Uint8Array;
}
