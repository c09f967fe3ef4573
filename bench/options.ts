import { Command, InvalidArgumentError, Option } from 'commander';

/** What can be measured, in the order in which it is. */
export const PARTS = ['batched', 'per-message', 'cold', 'warm', 'paced', 'long'] as const;
export type Part = (typeof PARTS)[number];

/** The functions that the engine is measured with, each in a process of its own. */
export const FUNCTIONS = ['lean', 'kalix'] as const;
export type FunctionName = (typeof FUNCTIONS)[number];

export interface BenchOptions {
  readonly commands: number;
  readonly entities: number;
  readonly partitions: number;
  /** Commands of the per-message baseline, whose rate needs no more. */
  readonly baselineCommands: number;
  /** Commands a second in the paced part, for so many seconds after a warm-up at the same pace. */
  readonly rate: number;
  readonly pacedSeconds: number;
  /** How many times `commands` the long part has. */
  readonly longFactor: number;
  readonly functions: readonly FunctionName[];
  readonly parts: ReadonlySet<Part>;
  /** Only the outcome counts, not the figures: none is compared with its target. */
  readonly quick: boolean;
  readonly json: string | undefined;
  /** A folder for CPU profiles of the engine. */
  readonly profile: string | undefined;
  /** Extra `--set name=value` for the engine. */
  readonly settings: readonly string[];
  /** Flags of Node for the engine's process. */
  readonly nodeFlags: readonly string[];
  readonly brokers: readonly string[] | undefined;
  readonly databaseUrl: string | undefined;
}

const FULL = { commands: 200_000, entities: 10_000, baselineCommands: 20_000, pacedSeconds: 20 };
const QUICK = { commands: 4_000, entities: 400, baselineCommands: 1_000, pacedSeconds: 2 };

/** Reads the command line; prints help or a refusal and ends the process where that is all there is to do. */
export function readOptions(argv: readonly string[]): BenchOptions {
  const program = withCommonOptions('bench')
    .description('The counter job on the engine, and on two programs written by hand. See bench/README.md.')
    .option('--commands <n>', `commands of one run (${FULL.commands})`, whole)
    .option('--entities <n>', `entities that they go to (${FULL.entities})`, whole)
    .option('--partitions <n>', 'partitions of the topics in and out', whole, 8)
    .option('--baseline-commands <n>', `commands of the per-message baseline (${FULL.baselineCommands})`, whole)
    .option('--rate <n>', 'commands a second of the paced part', whole, 1_000)
    .option('--paced-seconds <n>', `length of the paced part (${FULL.pacedSeconds})`, whole)
    .option('--long-factor <n>', 'the long part has so many times --commands', whole, 5)
    .addOption(new Option('--function <name>', 'measure with this function only').choices(FUNCTIONS))
    .option('--only <parts>', `some of ${PARTS.join(', ')} (all but long)`, parts)
    .option('--long', 'the long part too')
    .option('--quick', 'small numbers: checks the outputs, says nothing about speed')
    .option('--profile <dir>', 'write CPU profiles of the engine, one a part, and their summaries to this folder')
    .option(
      '--node <flag>',
      'a flag of Node for the engine, as --node=--max-semi-space-size=64; repeat as needed',
      collect,
      [],
    )
    .parse([...argv], { from: 'user' });
  const given = program.opts<{
    commands?: number;
    entities?: number;
    partitions: number;
    baselineCommands?: number;
    rate: number;
    pacedSeconds?: number;
    longFactor: number;
    function?: FunctionName;
    only?: Part[];
    long?: true;
    quick?: true;
    json?: string;
    profile?: string;
    set: string[];
    node: string[];
    brokers?: string[];
    databaseUrl?: string;
  }>();
  const sizes = given.quick === true ? QUICK : FULL;
  const chosen = new Set<Part>(given.only ?? PARTS.filter((part) => part !== 'long'));
  if (given.long === true) chosen.add('long');
  const commands = given.commands ?? sizes.commands;
  return {
    commands,
    entities: Math.min(given.entities ?? sizes.entities, commands),
    partitions: given.partitions,
    baselineCommands: given.baselineCommands ?? Math.min(sizes.baselineCommands, commands),
    rate: given.rate,
    pacedSeconds: given.pacedSeconds ?? sizes.pacedSeconds,
    longFactor: given.longFactor,
    functions: given.function === undefined ? FUNCTIONS : [given.function],
    parts: chosen,
    quick: given.quick === true,
    json: given.json,
    profile: given.profile,
    settings: given.set,
    nodeFlags: given.node,
    brokers: given.brokers,
    databaseUrl: given.databaseUrl,
  };
}

/** A benchmark's command line, with what all of them take. */
export function withCommonOptions(name: string): Command {
  return new Command(name)
    .option('--json <file>', 'write the results to this file too')
    .option('--set <name=value>', 'an option of the engine; repeat as needed', collect, [])
    .option('--brokers <list>', 'host:port,... of a Kafka to use instead of starting one', list)
    .option('--database-url <url>', 'a Postgres to use instead of starting one');
}

export function whole(text: string): number {
  const n = Number(text);
  if (!Number.isSafeInteger(n) || n < 1) throw new InvalidArgumentError('It is a whole number of at least 1.');
  return n;
}

function parts(text: string): Part[] {
  return text.split(',').map((name) => {
    const part = PARTS.find((known) => known === name.trim());
    if (part === undefined) throw new InvalidArgumentError(`The parts are ${PARTS.join(', ')}.`);
    return part;
  });
}

function list(text: string): string[] {
  return text.split(',').map((item) => item.trim());
}

function collect(value: string, earlier: string[]): string[] {
  return [...earlier, value];
}
