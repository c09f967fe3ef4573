import type { CommandId } from '../model/command.ts';
import { type Fingerprint, FingerprintTable } from './fingerprints.ts';
import { fingerprintOf, type Identity, parentOf } from './identity.ts';

const NOTHING: Fingerprint = { high: 0, low: 0 };

/** Which input records left something behind: an event, a value, an output, a dead letter. */
export interface Traces {
  /** The command left something in the journal. */
  ofCommand(command: CommandId): void;
  /** What an output says of the record that it is of. */
  ofOutput(identity: Identity): void;
  /** Whether a record is one of this pass. */
  isOurs(record: InputTrace): boolean;
  has(record: InputTrace): boolean;
}

/** An input record, as traces name it. */
export interface InputTrace {
  /** `topic/partition/offset` */
  readonly place: string;
  /** The command that a record of the command topic is; undefined for all others. */
  readonly command: CommandId | undefined;
}

/** Of all records, those of one pass: what belongs to one record of the outside goes to one pass. */
export function createTraces(index: number, of: number): Traces {
  const table = new FingerprintTable();
  const isMine = (text: string) => of === 1 || fingerprintOf(rootTextOf(text)).low % of === index;
  const add = (text: string) => table.put(fingerprintOf(text), NOTHING);
  const ofCommand = (command: CommandId) => {
    if (!isMine(command)) return;
    // It came from the record that it is named for, or, a stray or derived, from the command topic.
    if (!command.includes('#')) add(command);
    add(`command ${command}`);
  };
  return {
    ofCommand,
    ofOutput({ kind, origin, stood }) {
      if (stood !== undefined) {
        if (!isMine(origin)) return;
        add(`${stood.topic}/${stood.partition}/${stood.offset}`);
        // A dead letter is of the record that it names, or of that record as it was put back.
        if (kind === 'dead letter') add(`command ${origin}`);
      } else if (kind !== 'command') ofCommand(origin);
      else {
        const parent = parentOf(origin);
        if (parent !== undefined) ofCommand(parent);
        // A stray: the record was passed on, and what it leads to is to be seen yet.
        else if (isMine(origin)) add(origin);
      }
    },
    isOurs: ({ place, command }) => isMine(command ?? place),
    has: ({ place, command }) =>
      table.find(fingerprintOf(place)) >= 0 ||
      (command !== undefined && table.find(fingerprintOf(`command ${command}`)) >= 0),
  };
}

function rootTextOf(text: string): string {
  const at = text.indexOf('#');
  return at < 0 ? text : text.slice(0, at);
}
