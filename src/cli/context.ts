import type { Config } from '../config/config.ts';
import type { Assumed } from '../config/load.ts';
import type { Environment } from '../config/variables.ts';

/** A stream for text, as process.stdout is one. */
export interface Output {
  /** False: it would rather have no more before it has emitted `drain`. */
  write(text: string): unknown;
  once?(event: 'drain', listener: () => void): unknown;
  /** Whether a person looks at it. */
  readonly isTTY?: boolean | undefined;
  /** Width in characters, where it has one. */
  readonly columns?: number | undefined;
}

/** What a running command has of the outside. */
export interface Io {
  /** Aborted when the user or the platform asks for the end. */
  readonly signal: AbortSignal;
  readonly out: Output;
  readonly err: Output;
  /** Resolves when the user has pressed Enter; false: there will be no more input, or `signal` was aborted. Absent: there is none. */
  readonly enter?: ((signal: AbortSignal) => Promise<boolean>) | undefined;
}

/** A configuration that waits for what the command itself starts. */
export interface LocalRequest {
  /** What the configuration names; what it does not name has to be started here. */
  readonly given: { readonly brokers?: readonly string[]; readonly databaseUrl?: string };
  /** The configuration with the addresses of what was started, each where no source sets the option. */
  configWith(assumed: Assumed): Config;
}

/** What `dev` is told besides the configuration. */
export interface DevOptions {
  /** Absolute; the local stack keeps its data in `.stateferry` there, and the function is started there. */
  readonly cwd: string;
  readonly env: Environment;
  /** What starts the function, with its arguments; empty: somebody else starts it. */
  readonly command: readonly string[];
  /** Absolute; the folders whose files, when they change, restart the function. */
  readonly watch: readonly string[];
  /** Of input topics that are missing, where no other input topic sets the number. */
  readonly partitions: number;
}

/** What `demo` is told. */
export interface DemoOptions {
  /** For the processes that it starts. */
  readonly env: Environment;
  /** Leave everything running after the check, until the signal. */
  readonly keep: boolean;
  /** Show what another version of the function would have done, and let it serve, instead. */
  readonly history: boolean;
  /** All topics are Avro, with schemas in a local registry. */
  readonly avro: boolean;
}

/** What `topics` is told besides the configuration. */
export interface TopicsOptions {
  /** Create what is missing. */
  readonly create: boolean;
  /** Of input topics that are missing; absent: as many as the others have, or a default. */
  readonly partitions?: number;
}

/** What `schemas` is told besides the configuration. */
export interface SchemasOptions {
  /** Print the report as JSON. */
  readonly json: boolean;
  /** Register what is missing. */
  readonly push: boolean;
  /** Of input topics, too, of this format; absent: they are left alone. */
  readonly inputs?: 'avro' | 'json-schema' | 'registry-protobuf';
}

/** What `acl` is told besides the configuration. */
export interface AclOptions {
  readonly json: boolean;
  /** Whom the rights are for in Kafka, with its type; absent: the user of `kafka.sasl`. */
  readonly principal?: string;
  /** And in Postgres; absent: the user of `postgres.url`. */
  readonly role?: string;
}

/** What `verify` is told besides the configuration. */
export interface VerifyCliOptions {
  /** Print the report as JSON. */
  readonly json: boolean;
  /** Entities to replay through the function at most. */
  readonly sample: number;
  /** Methods whose answers show an entity's state. */
  readonly probes: readonly string[];
  /** Output topics that others write to as well. */
  readonly shared: readonly string[];
  /** How long a transaction may stay open before it hangs; absent: longer than one of ours can. */
  readonly patienceMs?: number;
}

/** What an operator asks of a running deployment. */
export type OperateRequest = { readonly reason: string; readonly by: string | undefined; readonly waitMs: number } & (
  | { readonly kind: 'pause' | 'resume' | 'skip'; readonly entityType: string; readonly entityId: string }
  | { readonly kind: 'shard-resume' | 'shard-skip'; readonly shard: number }
);

/** Which dead letters are meant. */
export interface LetterFilter {
  readonly topic?: string | undefined;
  readonly code?: string | undefined;
  readonly service?: string | undefined;
  /** Given up since then; milliseconds since the epoch. */
  readonly since?: number | undefined;
}

/** What is done with dead letters; an id is `partition/offset` in the dead-letter topic. */
export type DeadLettersRequest =
  | {
      readonly kind: 'list';
      readonly filter: LetterFilter;
      /** Those that somebody has dealt with, too. */
      readonly all: boolean;
      /** The newest of them. */
      readonly limit: number;
      readonly json: boolean;
    }
  | { readonly kind: 'show'; readonly id: string; readonly json: boolean }
  | {
      readonly kind: 'retry' | 'drop';
      /** Exactly one of the two is given. */
      readonly ids: readonly string[];
      readonly filter: LetterFilter | undefined;
      /** Retry also what has been retried or dropped. */
      readonly again: boolean;
      readonly reason: string;
      readonly by: string | undefined;
      readonly waitMs: number;
    };

/** What is done with generations beside the live one. */
export type ReprocessRequest =
  | {
      readonly kind: 'start';
      readonly name: string;
      /** Absent: where the configuration says. */
      readonly functionUrl: string | undefined;
      readonly mode: 'isolated' | 'cascade';
      /** Milliseconds since the epoch. */
      readonly from: number | 'beginning';
      /** Entities begin with the state that those of the live generation had there; else they are empty. */
      readonly state: 'live' | undefined;
      readonly components: readonly string[] | undefined;
      /** Absent: as fast as it goes. */
      readonly perSecond: number | undefined;
      readonly follow: boolean;
    }
  | { readonly kind: 'run'; readonly name: string; readonly follow: boolean }
  | { readonly kind: 'list'; readonly json: boolean }
  | { readonly kind: 'pause' | 'discard'; readonly name: string };

/** What is compared. */
export interface DiffRequest {
  /** The generation. */
  readonly name: string;
  /** Print the report as JSON. */
  readonly json: boolean;
  /** Write it as a page into this file, too. */
  readonly html: string | undefined;
  /** Fields that may differ. */
  readonly ignore: readonly string[];
}

/** What is published once more. */
export interface ReplayRequest {
  readonly to: string;
  /** Absent: one that is made of all the rest. */
  readonly name: string | undefined;
  /** An entity type, or a service. */
  readonly component: string | undefined;
  readonly entity: string | undefined;
  /** Milliseconds since the epoch. */
  readonly since: number | undefined;
  readonly until: number | undefined;
  readonly shard: number | undefined;
  readonly format: 'json' | 'protobuf';
  /** Outputs instead of events; a name: those of that topic. */
  readonly outputs: boolean | string;
  readonly perSecond: number | undefined;
  readonly dryRun: boolean;
}

/** Which generation is to serve. */
export interface PromoteRequest {
  readonly name: string;
  /** How long input may wait for it. */
  readonly holdMs: number;
  /** Topic for what differs of its outputs of the past; undefined: they are not published. */
  readonly emitTo: string | undefined;
}

/** What is done with a journal and a folder; absolute. */
export interface ArchiveRequest {
  readonly kind: 'export' | 'import';
  readonly folder: string;
}

/** What is done with snapshots. */
export type SnapshotsRequest = {
  /** An entity type or a service; undefined: all. */
  readonly component: string | undefined;
  /** Undefined: all. */
  readonly entityId: string | undefined;
} & (
  | { readonly kind: 'drop' }
  | {
      readonly kind: 'rebuild';
      /** Entities without a snapshot get one from so many events on. */
      readonly minEvents: number;
    }
);

/** What is done about what the journal need not keep. */
export interface RetentionRequest {
  /** Only tell what would be removed. */
  readonly dryRun: boolean;
  readonly json: boolean;
}

/** How rows are written: for a person, one JSON object a line, or RFC 4180. */
export type RowFormat = 'table' | 'jsonl' | 'csv';

/** A bound of history: a time (milliseconds since the epoch), or the sequence number of an event of one entity. */
export type Point = { readonly kind: 'time'; readonly at: number } | { readonly kind: 'seq'; readonly seq: number };

/** Where a record stands in a topic. */
export interface PlaceOfRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
}

/** One entity, or all whose ids begin with this. */
export type EntityPick = { readonly id: string } | { readonly prefix: string };

/** One thing of the journal. */
export type JournalThing =
  | { readonly kind: 'command'; readonly id: string }
  | { readonly kind: 'event'; readonly entityId: string; readonly seq: number };

/** What is asked of the journal. */
export type JournalRequest = {
  /** Undefined: the live one. */
  readonly generation: number | undefined;
  /** Undefined: as fits where it goes. */
  readonly format: RowFormat | undefined;
  /** An entity type or a service; undefined: all. */
  readonly component: string | undefined;
} & (
  | {
      readonly kind: 'entities';
      readonly entity: EntityPick | undefined;
      /** Undefined: all. */
      readonly limit: number | undefined;
      /** The cursor that an earlier list ended with. */
      readonly after: string | undefined;
    }
  | {
      readonly kind: 'events';
      readonly entity: EntityPick | undefined;
      readonly from: Point | undefined;
      readonly to: Point | undefined;
      readonly shard: number | undefined;
      /** Id of a command: events of it, and of all that derive from it. */
      readonly command: string | undefined;
      readonly type: string | undefined;
      readonly order: 'entity' | 'shard';
      readonly limit: number | undefined;
      /** From where on: `no`: what there is; `beginning`: what there is and what comes; `now`: what comes. */
      readonly follow: 'no' | 'beginning' | 'now';
    }
  | { readonly kind: 'show'; readonly thing: JournalThing; readonly json: boolean }
  | { readonly kind: 'stats' }
);

/** What is asked of one entity's history. */
export type EntityHistoryRequest = {
  readonly generation: number | undefined;
  readonly component: string | undefined;
  readonly entityId: string;
  readonly json: boolean;
} & (
  | {
      readonly kind: 'trace';
      /** The newest commands; undefined: all. */
      readonly limit: number | undefined;
    }
  | {
      readonly kind: 'show';
      /** Undefined: now. */
      readonly at: Point | ({ readonly kind: 'record' } & PlaceOfRecord) | undefined;
      /** A method whose answer shows the state. */
      readonly probe: string | undefined;
    }
);

/** Which commands of an entity a function is given once more. */
export interface EntityDebugRequest {
  readonly entityId: string;
  readonly component: string | undefined;
  /** Those that led to these events; `to` undefined: to the last one. */
  readonly from: number;
  readonly to: number | undefined;
  /** Wait for Enter before each. */
  readonly step: boolean;
  /** Undefined: where the configuration says. */
  readonly functionUrl: string | undefined;
}

/**
 * What the commands do, given from outside: the command line knows how to ask and how to show, not how it is done.
 * Each answers with the exit code of the process; failures are thrown. A command that is not given is not offered.
 */
export interface Commands {
  /** Runs a process of the deployment until `io.signal`. */
  run(config: Config, io: Io): Promise<number>;
  /** Like `run`, with a local Kafka and Postgres for what is not configured. */
  dev(request: LocalRequest, options: DevOptions, io: Io): Promise<number>;
  /** Shows the whole thing at work and checks it, on a local Kafka and Postgres of its own or on given ones. */
  demo(request: LocalRequest, options: DemoOptions, io: Io): Promise<number>;
  /** Prints the topics that the deployment needs and whether they are there; creates the missing ones if asked. */
  topics(config: Config, options: TopicsOptions, io: Io): Promise<number>;
  /** Holds the schemas of the registry against the function, and prints what it finds; registers what is missing if asked. */
  schemas(config: Config, options: SchemasOptions, io: Io): Promise<number>;
  /** Prints the rights that the deployment needs. */
  acl(config: Config, options: AclOptions, io: Io): Promise<number>;
  /** Asks the owner of a shard to do something, and prints what came of it. */
  operate(config: Config, request: OperateRequest, io: Io): Promise<number>;
  /** Prints the entities that are paused. */
  controlled(config: Config, options: { readonly json: boolean }, io: Io): Promise<number>;
  /** Lists, shows, retries or drops dead letters. */
  deadLetters(config: Config, request: DeadLettersRequest, io: Io): Promise<number>;
  /** Makes generations of history, and lists, pauses and discards them. */
  reprocess(config: Config, request: ReprocessRequest, io: Io): Promise<number>;
  /** Holds a generation against the one whose history it is made of. */
  diff(config: Config, request: DiffRequest, io: Io): Promise<number>;
  /** Publishes what was journaled once more. */
  replay(config: Config, request: ReplayRequest, io: Io): Promise<number>;
  /** Lets a generation serve in the place of the live one. */
  promote(config: Config, request: PromoteRequest, io: Io): Promise<number>;
  /** Writes the journal into a folder, or fills an empty one from it. */
  archive(config: Config, request: ArchiveRequest, io: Io): Promise<number>;
  /** Removes what the journal need not keep, or tells what that is. */
  retention(config: Config, request: RetentionRequest, io: Io): Promise<number>;
  /** Drops snapshots, or makes them of the events. */
  snapshots(config: Config, request: SnapshotsRequest, io: Io): Promise<number>;
  /** Lists, follows, shows and counts what the journal has. */
  journal(config: Config, request: JournalRequest, io: Io): Promise<number>;
  /** Tells the story of an entity, or its state at a moment. */
  entityHistory(config: Config, request: EntityHistoryRequest, io: Io): Promise<number>;
  /** Gives a function the recorded commands of an entity once more. */
  entityDebug(config: Config, request: EntityDebugRequest, io: Io): Promise<number>;
  /** Holds journal and topics against each other and prints what it finds. */
  verify(config: Config, options: VerifyCliOptions, io: Io): Promise<number>;
}

/** Everything that the command line needs of its process. */
export interface CliContext extends Io {
  /** Without the interpreter and the script. */
  readonly argv: readonly string[];
  readonly env: Environment;
  /** Absolute. */
  readonly cwd: string;
  readonly version: string;
  readonly commands: Partial<Commands>;
}

/** What a command's definition works with: the context, and where its exit code goes. */
export interface CommandContext extends CliContext {
  exitWith(code: number): void;
}
