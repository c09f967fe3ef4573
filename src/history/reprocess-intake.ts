import type { Arrival } from '../engine/intake.ts';
import type { GenerationMode } from '../journal/generations.ts';
import type { InputRecord } from '../model/record.ts';
import { isExternal } from './external.ts';

/** By this metadata a function can tell that a command is of the past, and whose generation it is for. */
export const GENERATION_METADATA = 'stateferry-generation';

const IGNORE: Arrival = { kind: 'ignore' };

/** What a generation in the making does with a record of history, or of its own command topic. */
export function createReprocessIntake(options: {
  readonly name: string;
  readonly mode: GenerationMode;
  /** Of an engine on this generation, which can read the command topic of the source, too. */
  readonly intake: (record: InputRecord) => Arrival;
  readonly wasParked: (record: InputRecord) => boolean;
  /** The command topic of the generation that history is of. */
  readonly sourceCommands: string;
  /** Topics whose records the function takes, the two command topics included. */
  readonly taken: ReadonlySet<string>;
  /** Services whose commands alone are given; undefined: all. */
  readonly components: ReadonlySet<string> | undefined;
}): (record: InputRecord) => Arrival {
  const { mode, intake, wasParked, sourceCommands, taken, components } = options;
  const mark = { key: GENERATION_METADATA, value: options.name } as const;
  return (record) => {
    if (!taken.has(record.topic) || wasParked(record)) return IGNORE;
    if (mode === 'cascade' && record.topic === sourceCommands && !isExternal(record)) return IGNORE;
    const arrival = intake(record);
    if (arrival.kind !== 'command') return arrival;
    const { command } = arrival;
    // A stream of answers is of callers who were there, and of their time.
    if (command.stream !== undefined) return IGNORE;
    if (components !== undefined && !components.has(command.method.component.service)) return IGNORE;
    return { ...arrival, command: { ...command, metadata: [...command.metadata, mark] } };
  };
}
