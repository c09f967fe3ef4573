import http from 'node:http';
import https from 'node:https';
import { messageOf, StateferryError } from '../errors.ts';
import type { RegistryAsked, RegistryOutcome, RegistryRequest } from '../model/registry-asked.ts';
import { type ClientTls, type TlsOptions, tlsTrouble } from '../secure.ts';
import type { LoadedSchema, SchemaReference, SchemaText, SchemaType } from './schema.ts';

/** How to be let in. What are functions are asked for every request: the files behind them may have been written anew. */
export interface RegistryAccess {
  /** Empty: none. */
  readonly user: string;
  readonly password: () => string;
  /** For `Authorization: Bearer`; empty: none. */
  readonly token: () => string;
  /** Of URLs that begin with https; undefined: as Node.js does it by itself. */
  readonly tls: ClientTls | undefined;
}

/** Where a registry is. */
export interface RegistryAddress extends RegistryAccess {
  /** Of one registry: they are tried in turn. Their paths are kept. */
  readonly urls: readonly string[];
  /** How long an answer may take, in ms. */
  readonly timeoutMs: number;
}

/** A registered version of a subject. */
export interface SubjectVersion {
  readonly id: number;
  readonly version: number;
}

/**
 * The API of Confluent's schema registry, as others have it, too. Every call throws StateferryError REGISTRY_UNAVAILABLE
 * where no answer comes, or none that is the registry's own; and CONFIG_INVALID where it lets nobody in.
 */
export interface RegistryClient {
  /** Undefined: the registry does not know the id. */
  schema(id: number): Promise<LoadedSchema | undefined>;
  /** Undefined: the subject has no such version, or none at all. */
  version(subject: string, version: number | 'latest'): Promise<(LoadedSchema & SubjectVersion) | undefined>;
  /** What keeps it from being the subject's next version; empty: nothing. A subject without versions takes everything. */
  incompatibilities(subject: string, schema: SchemaText): Promise<readonly string[]>;
  /** Adds a version, or finds the one that is the same. @throws StateferryError SCHEMA_MISFIT where the registry refuses it */
  register(subject: string, schema: SchemaText): Promise<number>;
  close(): void;
}

const TLS_OPTIONS: TlsOptions = {
  caFile: 'registry.tls.caFile',
  client: 'registry.tls.certificateFile and registry.tls.keyFile',
  without: 'begin its URL in registry.urls with http',
};
const CONTENT_TYPE = 'application/vnd.schemaregistry.v1+json';
/** No schema is larger; an answer that is comes from somebody else. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
/** Codes of the registry's own 404s: subject, version, schema. */
const NOT_FOUND: ReadonlySet<unknown> = new Set([404, 40401, 40402, 40403]);
const INVALID: ReadonlySet<number> = new Set([400, 409, 422]);

interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** @param onAsked hears of each request to each address */
export function createRegistryClient(
  address: RegistryAddress,
  onAsked: (asked: RegistryAsked) => void = () => undefined,
): RegistryClient {
  const plain = new http.Agent({ keepAlive: true });
  // It keeps connections apart by the secrets that they were made with: new ones make new connections.
  const secure = new https.Agent({ keepAlive: true });
  let first = 0;

  /** Asks the one that answered last, then the others. */
  async function call(what: RegistryRequest, path: string, body?: object): Promise<Answer> {
    const { urls } = address;
    const failures: string[] = [];
    for (let turn = 0; turn < urls.length; turn += 1) {
      const at = (first + turn) % urls.length;
      const url = urls[at] as string;
      const started = performance.now();
      let outcome: RegistryOutcome = 'failed';
      try {
        const answer = await ask(url, body === undefined ? 'GET' : 'POST', path, body);
        outcome = outcomeOf(answer.status);
        first = at;
        return answer;
      } catch (error) {
        if (error instanceof StateferryError) {
          outcome = 'denied';
          throw error;
        }
        failures.push(`${url}: ${messageOf(error)}`);
      } finally {
        onAsked({ request: what, outcome, ms: performance.now() - started });
      }
    }
    throw new StateferryError('REGISTRY_UNAVAILABLE', `the schema registry does not answer (${failures.join('; ')})`);
  }

  async function ask(base: string, method: 'GET' | 'POST', path: string, body?: object): Promise<Answer> {
    const url = new URL(`${base.replace(/\/+$/, '')}${path}`);
    const { status, text } = await request(url, method, body === undefined ? undefined : JSON.stringify(body));
    if (status === 401 || status === 403) {
      throw new StateferryError(
        'CONFIG_INVALID',
        `the schema registry at ${base} refuses ${method} ${url.pathname} with status ${status}. Check registry.auth, and what it may do.`,
      );
    }
    let parsed: unknown;
    try {
      parsed = JSON.parse(text);
    } catch {
      throw new Error(
        `${method} ${url.pathname} is answered with status ${status} and no JSON; is it a schema registry's address?`,
      );
    }
    if (typeof parsed !== 'object' || parsed === null)
      throw new Error(`${method} ${url.pathname} is answered with ${typeof parsed}`);
    const answer = { status, body: parsed as Answer['body'] };
    const isOwn = status === 200 || INVALID.has(status) || (status === 404 && NOT_FOUND.has(answer.body.error_code));
    if (!isOwn)
      throw new Error(
        `${method} ${url.pathname} is answered with status ${status}: ${String(answer.body.message ?? '')}`,
      );
    return answer;
  }

  function request(url: URL, method: string, body: string | undefined): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const isSecure = url.protocol === 'https:';
      const { user } = address;
      const token = address.token();
      const sent = (isSecure ? https : http).request(url, {
        method,
        agent: isSecure ? secure : plain,
        ...(isSecure && address.tls?.()),
        signal: AbortSignal.timeout(address.timeoutMs),
        headers: {
          accept: `${CONTENT_TYPE}, application/json`,
          ...(body !== undefined && { 'content-type': CONTENT_TYPE, 'content-length': Buffer.byteLength(body) }),
          ...(token !== '' && { authorization: `Bearer ${token}` }),
          ...(user !== '' && {
            authorization: `Basic ${Buffer.from(`${user}:${address.password()}`).toString('base64')}`,
          }),
        },
      });
      sent.on('error', (error) =>
        reject(
          error.name === 'AbortError'
            ? new Error(`no answer within ${address.timeoutMs} ms`)
            : new Error(tlsTrouble(error, TLS_OPTIONS) ?? messageOf(error), { cause: error }),
        ),
      );
      sent.on('response', (response) => {
        const parts: Buffer[] = [];
        let bytes = 0;
        response.on('data', (part: Buffer) => {
          bytes += part.length;
          if (bytes > MAX_ANSWER_BYTES) sent.destroy(new Error(`the answer has more than ${MAX_ANSWER_BYTES} bytes`));
          else parts.push(part);
        });
        response.on('error', reject);
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString('utf8') }),
        );
      });
      sent.end(body);
    });
  }

  async function found(what: 'schema' | 'version', path: string): Promise<Answer['body'] | undefined> {
    const { status, body } = await call(what, path);
    if (status === 200) return body;
    if (status === 404) return undefined;
    throw new StateferryError(
      'REGISTRY_UNAVAILABLE',
      `the schema registry answers GET ${path} with status ${status}: ${String(body.message ?? '')}`,
    );
  }

  async function load(id: number, body: Answer['body']): Promise<LoadedSchema> {
    const schema = textOf(body);
    const imports: { name: string; text: string }[] = [];
    const missing: SchemaReference[] = [];
    const seen = new Set<string>();
    const visit = async (references: readonly SchemaReference[]): Promise<void> => {
      for (const reference of references) {
        const { name, subject, version } = reference;
        if (seen.has(name)) continue;
        seen.add(name);
        const imported = await found('version', `/subjects/${encodeURIComponent(subject)}/versions/${version}`);
        if (imported === undefined) {
          missing.push(reference);
          continue;
        }
        const { references: further, text } = textOf(imported);
        await visit(further);
        imports.push({ name, text });
      }
    };
    await visit(schema.references);
    return { ...schema, id, imports, missing };
  }

  const subjectPath = (subject: string) => `/subjects/${encodeURIComponent(subject)}`;
  return {
    async schema(id) {
      const body = await found('schema', `/schemas/ids/${id}`);
      return body && load(id, body);
    },
    async version(subject, wanted) {
      const body = await found('version', `${subjectPath(subject)}/versions/${wanted}`);
      if (body === undefined) return undefined;
      return { ...(await load(Number(body.id), body)), version: Number(body.version) };
    },
    async incompatibilities(subject, schema) {
      const path = `/compatibility${subjectPath(subject)}/versions/latest?verbose=true`;
      const { status, body } = await call('compatibility', path, requestOf(schema));
      if (status === 404 || body.is_compatible === true) return [];
      const { messages } = body;
      if (Array.isArray(messages) && messages.length > 0) return messages.map(String);
      return [String(body.message ?? body.reason ?? 'the registry says that it is not compatible, and not why')];
    },
    async register(subject, schema) {
      const { status, body } = await call('register', `${subjectPath(subject)}/versions`, requestOf(schema));
      if (status === 200) return Number(body.id);
      throw new StateferryError(
        'SCHEMA_MISFIT',
        `the registry refuses the schema for the subject "${subject}" with status ${status}: ${String(body.message ?? '')}`,
      );
    },
    close() {
      plain.destroy();
      secure.destroy();
    },
  };
}

/** Of an answer of the registry's own. */
function outcomeOf(status: number): RegistryOutcome {
  if (status === 200) return 'ok';
  return status === 404 ? 'unknown' : 'refused';
}

function requestOf({ type, text, references }: SchemaText): object {
  return {
    schema: text,
    // Old registries know Avro alone, and no such field.
    ...(type !== 'AVRO' && { schemaType: type }),
    ...(references.length > 0 && { references }),
  };
}

function textOf(body: Answer['body']): SchemaText {
  const { schema, schemaType = 'AVRO', references = [] } = body;
  return { type: schemaType as SchemaType, text: String(schema), references: references as SchemaReference[] };
}
