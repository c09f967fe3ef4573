import type { Config } from '../config/config.ts';
import type { Assumed } from '../config/load.ts';
import type { Environment } from '../config/variables.ts';

/** A stream for text, as process.stdout is one. */
export interface Output {
  write(text: string): unknown;
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
}

/** A configuration that waits for what the command itself starts. */
export interface LocalRequest {
  /** What no source of the configuration names, so that it must be started here. */
  readonly needs: { readonly kafka: boolean; readonly postgres: boolean };
  /** The configuration with the addresses of what was started, each where no source sets the option. */
  configWith(assumed: Assumed): Config;
}

/**
 * What the commands do, given from outside: the command line knows how to ask and how to show, not how it is done.
 * Each answers with the exit code of the process; failures are thrown. A command that is not given is not offered.
 */
export interface Commands {
  /** Runs a process of the deployment until `io.signal`. */
  run(config: Config, io: Io): Promise<number>;
  /** Like `run`, with a local Kafka and Postgres for what is not configured. */
  dev(request: LocalRequest, io: Io): Promise<number>;
  /** Shows the whole thing at work, on a local Kafka and Postgres of its own. */
  demo(request: LocalRequest, io: Io): Promise<number>;
  /** Prints the topics that the deployment needs and whether they are there; creates the missing ones if asked. */
  topics(config: Config, options: { readonly create: boolean }, io: Io): Promise<number>;
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
