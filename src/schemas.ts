import type { Config } from './config/config.ts';
import type { OutputRoute, RoutePlan } from './engine/routes.ts';
import { StateferryError } from './errors.ts';
import type { FramedReader, FramedWriter, SchemaFormat } from './model/framed.ts';
import type { InputRecord } from './model/record.ts';
import type { RegistryAsked } from './model/registry-asked.ts';
import { readRegistryFiles } from './named-files.ts';
import type { Log } from './observe/log.ts';
import { type Descriptors, messageType } from './protocol/descriptors.ts';
import { createRegistryClient, type RegistryClient } from './registry/client.ts';
import { createReaders, createRegistryInputs, type Persist } from './registry/inputs.ts';
import { type InputSchemas, type OutputSchemas, prepareSchemas, type SubjectReport } from './registry/prepare.ts';
import type { ReadTopic } from './registry/reading.ts';

/** What an engine needs of the schema registry. */
export interface Schemas {
  /** By topic, of the subscriptions with the format `registry`. */
  readonly readers: ReadonlyMap<string, FramedReader>;
  /** By topic, of the destinations with a format of the registry. */
  readonly writers: ReadonlyMap<string, FramedWriter>;
  /** See `EngineOptions.awaits`. */
  awaits(record: InputRecord): Promise<void> | undefined;
}

/** The topics of a deployment whose schemas are in the registry. */
export interface SchemaPlan {
  readonly reads: readonly ReadTopic[];
  readonly inputs: readonly InputSchemas[];
  readonly outputs: readonly OutputSchemas[];
}

const ANY = 'google.protobuf.Any';

/** @throws StateferryError FUNCTION_SPEC with everything that routes and function do not let the registry do */
export function planSchemas(plan: RoutePlan, descriptors: Descriptors): SchemaPlan {
  const faults: string[] = [];
  const reads: ReadTopic[] = [];
  const inputs: InputSchemas[] = [];
  for (const { topic, methods, ignored, subjects } of plan.inputs) {
    if (subjects === undefined) continue;
    const names = methods.map(({ inputType }) => inputType);
    if (names.includes(ANY)) {
      faults.push(
        `the topic "${topic}" is read by the schemas of the registry, and a method that takes ${ANY} has nothing to read them as`,
      );
      continue;
    }
    const types = names.map((name) => messageType(descriptors, name));
    const [only] = types.length === 1 && ignored.length === 0 ? types : [];
    reads.push({ topic, types, only });
    inputs.push({ topic, types, ...subjects });
  }
  const outputs = outputsOf(plan, descriptors, faults);
  if (faults.length > 0) {
    throw new StateferryError(
      'FUNCTION_SPEC',
      `the routes do not fit the schema registry:\n${faults.map((fault) => `  - ${fault}`).join('\n')}`,
    );
  }
  return { reads, inputs, outputs };
}

function outputsOf(plan: RoutePlan, descriptors: Descriptors, faults: string[]): OutputSchemas[] {
  const byTopic = new Map<string, OutputRoute[]>();
  for (const route of [...plan.replies.values(), ...plan.events.values()].flat()) {
    byTopic.set(route.topic, [...(byTopic.get(route.topic) ?? []), route]);
  }
  const outputs: OutputSchemas[] = [];
  for (const [topic, routes] of byTopic) {
    if (routes.every(({ schemas }) => schemas === undefined)) continue;
    const [first] = routes;
    if (first?.schemas === undefined || routes.some((route) => wayOf(route) !== wayOf(first))) {
      faults.push(
        `the topic "${topic}" is written in several ways (${[...new Set(routes.map(wayOf))].join('; ')}); give all of its destinations one`,
      );
      continue;
    }
    const names = [...new Set(routes.flatMap(({ schemas }) => schemas?.types ?? []))];
    const unknown = names.filter((name) => descriptors.registry.getMessage(name) === undefined);
    for (const name of unknown)
      faults.push(
        `a destination with the topic "${topic}" names the type ${name}, which the function's descriptor does not have`,
      );
    if (names.includes(ANY))
      faults.push(`the topic "${topic}" takes ${ANY}, which has no schema of its own; name the types that go there`);
    const { strategy, subject, version } = first.schemas;
    const types = names.filter((name) => !unknown.includes(name)).map((name) => messageType(descriptors, name));
    outputs.push({ topic, format: first.format as SchemaFormat, strategy, subject, version, types });
  }
  return outputs;
}

function wayOf({ format, schemas }: OutputRoute): string {
  if (schemas === undefined) return format;
  const { strategy, subject, version } = schemas;
  return `${format} by ${subject ?? strategy}${version === undefined ? '' : `, version ${version}`}`;
}

/**
 * A client of the registry that the configuration names; `onAsked` as for `createRegistryClient`, `log` hears of files that cannot be
 * used any more.
 */
export function registryClient(
  config: Pick<Config, 'registry'>,
  { onAsked, log }: Partial<Pick<OpenSchemasOptions, 'onAsked' | 'log'>> = {},
): RegistryClient {
  const { urls, timeoutMs } = config.registry;
  return createRegistryClient({ urls, timeoutMs, ...readRegistryFiles(config, log) }, onAsked);
}

export interface OpenSchemasOptions {
  readonly log: Log;
  readonly persist: Persist;
  /** Ends the waiting, and closes the connections. */
  readonly signal: AbortSignal;
  /** As for `createRegistryClient`. */
  readonly onAsked?: ((asked: RegistryAsked) => void) | undefined;
}

/**
 * Everything that an engine needs of the registry: all schemas of its output topics, and those that its input topics
 * have now. Undefined where no topic has anything to do with it; then nobody asks it anything. Waits while it is away.
 * @throws StateferryError SCHEMA_MISFIT with every schema that does not fit, CONFIG_INVALID where it lets nobody in
 */
export async function openSchemas(
  config: Pick<Config, 'registry'>,
  plan: SchemaPlan,
  { log, persist, signal, onAsked }: OpenSchemasOptions,
): Promise<Schemas | undefined> {
  if (plan.inputs.length + plan.outputs.length === 0) return undefined;
  const client = registryClient(config, { onAsked, log });
  signal.addEventListener('abort', () => client.close(), { once: true });
  const readers = createReaders(plan.reads);
  const { reports, writers } = await persist(() =>
    prepareSchemas({ client, readers, ...plan, register: { inputs: undefined, outputs: config.registry.register } }),
  );
  refuseFaults(reports);
  for (const { topic, direction, subject, id, version, state } of reports) {
    if (state === 'missing')
      log.warn({ topic, subject }, 'An input topic has no schema yet: its records show what they are');
    else log.info({ topic, direction, subject, id, version, state }, 'A schema fits');
  }
  const patient: Persist = (attempt) => persist(() => attempt().catch(retried));
  const { awaits } = createRegistryInputs(readers, client, patient);
  return { readers, writers, awaits };
}

/** Whoever is let in no longer waits for it, as for a registry that is away: no record may be lost by it. */
function retried(error: unknown): never {
  if (!(error instanceof StateferryError) || error.fate !== 'stop') throw error;
  throw new StateferryError('REGISTRY_UNAVAILABLE', error.message, { cause: error });
}

/** @throws StateferryError SCHEMA_MISFIT */
function refuseFaults(reports: readonly SubjectReport[]): void {
  const wrong = reports.filter(({ faults }) => faults.length > 0);
  if (wrong.length === 0) return;
  const lines = wrong.flatMap(({ topic, direction, subject, version, faults }) => [
    `  ${direction === 'in' ? 'input' : 'output'} topic "${topic}", subject "${subject}"${version === null ? '' : ` version ${version}`}:`,
    ...faults.map((fault) => `    - ${fault}`),
  ]);
  throw new StateferryError(
    'SCHEMA_MISFIT',
    `schemas of the registry do not fit the function:\n${lines.join('\n')}\n` +
      'Register schemas that fit (`stateferry schemas push`, or registry.register: true), or change the function\u2019s messages.',
  );
}
