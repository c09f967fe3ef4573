import { decodeCommandRecord } from '../../src/codec/command-record.ts';
import { DOOR_HEADER } from '../../src/codec/header-names.ts';
import type { Method } from '../../src/model/component.ts';
import type { InputRecord } from '../../src/model/record.ts';

/** Metadata of a call: its number in the run. */
export const NUMBER_KEY = 'fault-n';

/** Of a record of the command topic: which call it is of, if a door wrote it. */
export function numberOfCall(record: InputRecord): number | undefined {
  if (record.headers[DOOR_HEADER] === undefined) return undefined;
  const decoded = decodeCommandRecord(record, anyMethod);
  if (decoded.kind !== 'command') throw new Error(`a door wrote what is no command at offset ${record.offset}`);
  const number = decoded.metadata.find(({ key }) => key === NUMBER_KEY)?.value;
  if (number === undefined) throw new Error(`a door wrote a command that the harness did not ask for`);
  return Number(number);
}

/** Whose command it is does not count here, so any method will do. */
function anyMethod(service: string, name: string): Method {
  return {
    name,
    component: { kind: 'action', service, entityType: service, methods: new Map() },
    inputType: '',
    outputType: '',
    clientStreaming: false,
    serverStreaming: false,
    entityKeyFields: [],
    eventing: {},
  };
}
