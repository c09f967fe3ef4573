import { createHash } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import { messageOf, StateferryError } from '../errors.ts';
import type { Component, FunctionSpec, Method } from '../model/component.ts';
import { locationOf } from '../protocol/declarations.ts';
import { type AccessRules, describeAccess, type MethodAccess } from '../protocol/describe-access.ts';
import { describeComponent } from '../protocol/describe-component.ts';
import { type Descriptors, readDescriptors } from '../protocol/descriptors.ts';
import type { Dialect, ProxyInfo, RawSpec } from '../protocol/dialect.ts';
import type { FunctionClient } from './client.ts';
import { GrpcError } from './grpc-error.ts';

/** One successful discovery. */
export interface Discovered {
  readonly dialect: Dialect;
  readonly spec: FunctionSpec;
  readonly descriptors: Descriptors;
  /** What the function declares and this version does not serve; the rest of it runs. */
  readonly unserved: readonly string[];
  /** Who may call each method, by the function's annotations. */
  readonly access: AccessRules;
}

/**
 * Asks the function what it is, in each dialect's way until one is understood.
 * @throws StateferryError FUNCTION_UNAVAILABLE when it cannot be reached, FUNCTION_PROTOCOL when it speaks no dialect of
 * ours or another version, FUNCTION_SPEC when what it says of itself cannot be run.
 */
export async function discover(options: {
  client: FunctionClient;
  dialects: readonly Dialect[];
  proxy: ProxyInfo;
  timeoutMs: number;
}): Promise<Discovered> {
  const { client, dialects, proxy, timeoutMs } = options;
  const families = byDiscoverPath(dialects);
  for (const [path, family] of families) {
    let answer: Buffer;
    try {
      answer = await client.unary(path, family[0].encodeProxyInfo(proxy), timeoutMs);
    } catch (error) {
      if (!(error instanceof GrpcError)) throw error;
      if (error.code === status.UNIMPLEMENTED) continue;
      throw unavailable(error);
    }
    try {
      return readSpec(family, answer);
    } catch (error) {
      await report(client, family[0], error, timeoutMs);
      throw error;
    }
  }
  throw new StateferryError(
    'FUNCTION_PROTOCOL',
    `the server at the function's address answers gRPC, but none of the discovery services ` +
      `${[...families.keys()].map((path) => path.slice(1)).join(', ')}. Is this the address of a function written with one of the supported SDKs?`,
  );
}

/** The dialects that are asked by the same call, of which the first one's answer has all fields of the others'. */
type Family = readonly [Dialect, ...Dialect[]];

function byDiscoverPath(dialects: readonly Dialect[]): ReadonlyMap<string, Family> {
  const families = new Map<string, Family>();
  for (const dialect of dialects) {
    const family = families.get(dialect.discoverPath);
    families.set(dialect.discoverPath, family === undefined ? [dialect] : [...family, dialect]);
  }
  return families;
}

/** The one that knows all the component types, then the one whose version it is; the first, if that leaves several. */
function choose(family: Family, raw: RawSpec): Dialect {
  const score = (dialect: Dialect): number =>
    (raw.components.every(({ type }) => dialect.kinds.has(type) || dialect.unserved.has(type)) ? 2 : 0) +
    (speaks(dialect, raw) ? 1 : 0);
  return family.reduce((best, dialect) => (score(dialect) > score(best) ? dialect : best));
}

function unavailable(error: GrpcError): StateferryError {
  const reason = error.details.replaceAll(/\s*\n\s*/g, ' ').trimEnd();
  return new StateferryError(
    'FUNCTION_UNAVAILABLE',
    `the function does not answer (${status[error.code]}: ${reason})`,
    {
      cause: error,
    },
  );
}

/** Tells the function why it is refused, so that its developer reads it in the function's own log. */
async function report(client: FunctionClient, dialect: Dialect, error: unknown, timeoutMs: number): Promise<void> {
  if (!(error instanceof StateferryError)) return;
  const { code, message: sentence } = error;
  const message = dialect.encodeError({ code, message: sentence, detail: '', location: locationOf(error) });
  // Some SDKs fail this call whatever is in it (PROTOCOLS 2); the error that is thrown next says everything.
  await client.unary(dialect.reportErrorPath, message, timeoutMs).catch(() => undefined);
}

function readSpec(family: Family, answer: Buffer): Discovered {
  let raw: RawSpec;
  try {
    raw = family[0].decodeSpec(answer);
  } catch (cause) {
    throw new StateferryError(
      'FUNCTION_PROTOCOL',
      `discovery's answer is not a spec of ${family[0].name}: ${messageOf(cause)}`,
      {
        cause,
      },
    );
  }
  const dialect = choose(family, raw);
  checkVersion(dialect, raw);
  if (raw.components.length === 0) {
    throw new StateferryError(
      'FUNCTION_SPEC',
      `the function "${raw.serviceName}" lists no components. Register at least one entity or action before it is started.`,
    );
  }
  const descriptors = readDescriptors(raw.fileDescriptorSet);
  const components = new Map<string, Component>();
  const unserved: string[] = [];
  const access = new Map<Method, MethodAccess>();
  for (const component of raw.components) {
    const missing = dialect.unserved.get(component.type);
    if (missing !== undefined) {
      const methods = descriptors.registry.getService(component.service)?.methods.map(({ name }) => name) ?? [];
      unserved.push(
        `${component.service} is a ${missing}, which this version of Stateferry does not serve: ${methods.join(', ') || 'its methods'} cannot be called`,
      );
      continue;
    }
    const kind = dialect.kinds.get(component.type);
    if (kind === undefined) {
      throw new StateferryError(
        'FUNCTION_SPEC',
        `${component.service} has the component type "${component.type}"; ${dialect.name} knows ${[...dialect.kinds.keys()].join(', ')}.`,
      );
    }
    const annotated = { descriptors, options: dialect.options, variables: raw.variables };
    const described = describeComponent({
      ...annotated,
      kind,
      service: component.service,
      // Cloudstate's JavaScript SDK gives the same persistence id to all functions without state.
      entityType: kind === 'action' ? component.service : component.entityType || component.service,
      ...(component.passivationMs !== undefined && { passivationMs: component.passivationMs }),
    });
    components.set(component.service, described);
    for (const [method, rule] of describeAccess({ ...annotated, component: described })) {
      access.set(method, rule);
      if (rule.unserved === undefined) continue;
      unserved.push(
        `${component.service}.${method.name} ${rule.unserved}, which this version of Stateferry does not do: the doors refuse its calls`,
      );
    }
  }
  const digest = createHash('sha256')
    .update(raw.fileDescriptorSet)
    .update(JSON.stringify(raw.components))
    // The same annotations lead elsewhere when the function's environment has changed.
    .update(
      JSON.stringify([...components.values()].flatMap(({ methods }) => [...methods.values()].map((m) => m.eventing))),
    )
    .update(JSON.stringify([...access.values()]))
    .digest('hex');
  return {
    dialect,
    descriptors,
    unserved,
    access,
    spec: {
      dialect: dialect.name,
      protocolVersion: numberOf(raw.protocolMajor, raw.protocolMinor) ?? 'none',
      serviceName: raw.serviceName,
      supportLibrary: `${raw.supportLibrary} ${raw.supportLibraryVersion}`.trim(),
      components,
      digest,
    },
  };
}

/** The same major version is understood; before 1.0 the minor counts as one. */
function speaks({ version: { major, minor } }: Dialect, raw: RawSpec): boolean {
  return raw.protocolMajor === major && (major > 0 || raw.protocolMinor === minor);
}

function checkVersion(dialect: Dialect, raw: RawSpec): void {
  if (speaks(dialect, raw)) return;
  const { major, minor } = dialect.version;
  const [theirs, ours] = [numberOf(raw.protocolMajor, raw.protocolMinor), numberOf(major, minor)];
  throw new StateferryError(
    'FUNCTION_PROTOCOL',
    `the function speaks ${dialect.name} ${theirs ?? 'without a version'}, and this runtime speaks ${ours ?? 'it without one'}. ` +
      'Use an SDK of that protocol version.',
  );
}

/** Undefined for 0.0: the first Cloudstate protocol has no number. */
function numberOf(major: number, minor: number): string | undefined {
  return major === 0 && minor === 0 ? undefined : `${major}.${minor}`;
}
