import type { DescMessage } from '@bufbuild/protobuf';
import { messageOf, StateferryError } from '../errors.ts';
import type { FramedWriter, SchemaFormat, Subjects } from '../model/framed.ts';
import type { RegistryClient, SubjectVersion } from './client.ts';
import type { WritePlan } from './formats.ts';
import { derive, OUTPUT_KINDS, planWriting } from './kinds.ts';
import type { TopicReader } from './reading.ts';
import { type LoadedSchema, type Misfit, misfitLine, type SchemaType } from './schema.ts';
import { subjectOf } from './subjects.ts';

/** A topic that is read: what its subjects hold is held against the function's types before anything is read. */
export interface InputSchemas extends Subjects {
  readonly topic: string;
  readonly types: readonly DescMessage[];
}

/** A topic that is written. */
export interface OutputSchemas extends Subjects {
  readonly topic: string;
  readonly format: SchemaFormat;
  readonly types: readonly DescMessage[];
  /** Undefined: the latest. */
  readonly version: number | undefined;
}

/** What there is to say of one subject, for people and for `stateferry schemas`. */
export interface SubjectReport {
  readonly topic: string;
  readonly direction: 'in' | 'out';
  readonly subject: string;
  readonly types: readonly string[];
  /** Of the schema that is used; null: there is none. */
  readonly id: number | null;
  readonly version: number | null;
  /** `missing`: the subject has no schema. `registered`: it got one now, or a newer one. */
  readonly state: 'fits' | 'missing' | 'registered' | 'misfit' | 'incompatible';
  /** What is wrong, a line each; empty where nothing is. */
  readonly faults: readonly string[];
}

export interface Prepared {
  readonly reports: readonly SubjectReport[];
  /** By topic; of use only where no report of an output has faults. */
  readonly writers: ReadonlyMap<string, FramedWriter>;
}

export interface PrepareOptions {
  readonly client: RegistryClient;
  readonly readers: ReadonlyMap<string, TopicReader>;
  readonly inputs: readonly InputSchemas[];
  readonly outputs: readonly OutputSchemas[];
  /** Whether subjects that have no schema that fits get the one that the function's descriptors make. */
  readonly register: {
    readonly outputs: boolean /** Of this format; undefined: they are left alone. */;
    readonly inputs: SchemaFormat | undefined;
  };
}

/**
 * Looks at every subject, registers what is missing where that is wanted, and teaches the readers what they will meet.
 * Where a subject's schema fits it is used as it is, whoever registered it. Everything that is wrong is in the reports.
 * @throws StateferryError REGISTRY_UNAVAILABLE; what was registered by then stays, and is found the next time
 */
export async function prepareSchemas({
  client,
  readers,
  inputs,
  outputs,
  register,
}: PrepareOptions): Promise<Prepared> {
  const reports: SubjectReport[] = [];
  const writers = new Map<string, FramedWriter>();
  for (const input of inputs) {
    for (const [subject, types] of bySubject(input)) reports.push(await prepareInput(input, subject, types));
  }
  for (const output of outputs) {
    const ways = new Map<string, (value: Uint8Array) => Uint8Array>();
    for (const [subject, types] of bySubject(output)) {
      const { report, plan } = await prepareOutput(output, subject, types);
      reports.push(report);
      for (const [type, way] of plan?.ways ?? []) ways.set(type, way);
    }
    writers.set(output.topic, createWriter(output, ways));
  }
  return { reports, writers };

  async function prepareInput(
    { topic }: InputSchemas,
    subject: string,
    types: readonly DescMessage[],
  ): Promise<SubjectReport> {
    const about = { topic, direction: 'in', subject, types: types.map(({ typeName }) => typeName) } as const;
    let found = await client.version(subject, 'latest');
    let state: SubjectReport['state'] = 'fits';
    if (found === undefined) {
      if (register.inputs === undefined) return { ...about, id: null, version: null, state: 'missing', faults: [] };
      const { type } = OUTPUT_KINDS[register.inputs];
      const id = await client.register(subject, { type, text: derive(type, types), references: [] });
      state = 'registered';
      found = await registered(subject, id);
    }
    const misfits = readers.get(topic)?.learn(found.id, found)?.misfits ?? [];
    const faults = misfits.map(misfitLine);
    return { ...about, id: found.id, version: found.version, state: faults.length > 0 ? 'misfit' : state, faults };
  }

  async function prepareOutput(
    { topic, format, version }: OutputSchemas,
    subject: string,
    types: readonly DescMessage[],
  ): Promise<{ report: SubjectReport; plan?: WritePlan }> {
    const { type } = OUTPUT_KINDS[format];
    const about = { topic, direction: 'out', subject, types: types.map(({ typeName }) => typeName) } as const;
    const found = await client.version(subject, version ?? 'latest');
    const plan = found && planOutput(found, type, types);
    if (found !== undefined && plan !== undefined && plan.misfits.length === 0) {
      return { report: { ...about, id: found.id, version: found.version, state: 'fits', faults: [] }, plan };
    }
    const own = { id: found?.id ?? null, version: found?.version ?? null };
    const faults = (plan?.misfits ?? []).map(misfitLine);
    // Nobody knows what it says: it is not for us to put another one in its place.
    const isWhole = found === undefined || found.missing.length === 0;
    if (!register.outputs || version !== undefined || !isWhole) {
      const nothing = version === undefined ? 'the subject has no schema' : `the subject has no version ${version}`;
      const state = found === undefined ? 'missing' : 'misfit';
      return { report: { ...about, ...own, state, faults: found === undefined ? [nothing] : faults } };
    }
    const schema = { type, text: derive(type, types), references: [] };
    const clashes = found === undefined ? [] : await client.incompatibilities(subject, schema);
    if (clashes.length > 0) {
      const reasons = clashes.map(
        (clash) => `the schema that would fit is not compatible with the latest one: ${clash}`,
      );
      return { report: { ...about, ...own, state: 'incompatible', faults: [...faults, ...reasons] } };
    }
    const made = await registered(subject, await client.register(subject, schema));
    const fitting = planOutput(made, type, types);
    return {
      report: {
        ...about,
        id: made.id,
        version: made.version,
        state: 'registered',
        faults: fitting.misfits.map(misfitLine),
      },
      plan: fitting,
    };
  }

  async function registered(subject: string, id: number): Promise<LoadedSchema & SubjectVersion> {
    const found = await client.version(subject, 'latest');
    if (found?.id === id) return found;
    throw new StateferryError(
      'REGISTRY_UNAVAILABLE',
      `schema ${id} was registered for the subject "${subject}", whose latest is ${found?.id ?? 'none'}`,
    );
  }
}

function planOutput(found: LoadedSchema, type: SchemaType, types: readonly DescMessage[]): WritePlan {
  if (found.type === type) return planWriting(found, types);
  const misfit: Misfit = {
    path: '',
    found: `a schema of the kind ${found.type}`,
    expected: `one of the kind ${type}, as the format says`,
  };
  return { misfits: [misfit], ways: new Map() };
}

function bySubject({
  topic,
  strategy,
  subject,
  types,
}: Subjects & { topic: string; types: readonly DescMessage[] }): Map<string, DescMessage[]> {
  const subjects = new Map<string, DescMessage[]>();
  for (const type of types) {
    const name = subject ?? subjectOf(strategy, topic, type.typeName);
    subjects.set(name, [...(subjects.get(name) ?? []), type]);
  }
  return subjects;
}

function createWriter(
  { topic, format, types }: OutputSchemas,
  ways: ReadonlyMap<string, (value: Uint8Array) => Uint8Array>,
): FramedWriter {
  return {
    contentType: OUTPUT_KINDS[format].contentType,
    write(typeName, value) {
      const way = ways.get(typeName);
      if (way === undefined) {
        throw new StateferryError(
          'FUNCTION_BROKEN_REPLY',
          `A ${typeName} cannot be written to the topic ${topic}, whose schemas are for ${types.map((type) => type.typeName).join(', ')}. Add it to the types of the destination.`,
        );
      }
      try {
        return way(value);
      } catch (error) {
        throw new StateferryError(
          'FUNCTION_BROKEN_REPLY',
          `A ${typeName} (${value.length} bytes) cannot be written with the schema of the topic ${topic}: ${messageOf(error)}. Let the function give what the schema takes.`,
          { cause: error },
        );
      }
    },
  };
}
