import type { DescField, DescMessage } from '@bufbuild/protobuf';
import type { Declaration } from '../../protocol/declarations.ts';
import { createComments } from './comments.ts';
import { pathName, resolveFieldPath } from './field-path.ts';
import { isHttpBody } from './http-body.ts';
import type { HttpRule } from './http-rules.ts';
import { createSchemas, type Schema, type Schemas } from './openapi-schemas.ts';
import { isRaw } from './request.ts';

/** The verbs that OpenAPI has operations for. */
const OPERATIONS: ReadonlySet<string> = new Set(['GET', 'PUT', 'POST', 'DELETE', 'OPTIONS', 'HEAD', 'PATCH', 'TRACE']);

interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query';
  readonly required?: true;
  readonly description?: string;
  readonly schema: Schema;
}

type Operation = Readonly<Record<string, unknown>>;

/**
 * An OpenAPI 3.1 document of what the rules serve, as a JSON value. The same rules give the same document, to the order
 * of its properties. Comments of the .proto files are its descriptions where the descriptor set has them.
 *
 * OpenAPI has no name for other verbs than its eight, so rules with one are left out.
 */
export function openApiDocument(rules: readonly HttpRule[]): Readonly<Record<string, unknown>> {
  const comment = createComments();
  const schemas = createSchemas(comment);
  const paths = new Map<
    string,
    { readonly names: readonly string[]; readonly path: string; item: Record<string, Operation> }
  >();
  const operationIds = new Map<string, number>();
  const services = new Set<string>();

  for (const rule of rules) {
    const service = rule.descriptor.parent;
    services.add(service.typeName);
    if (!OPERATIONS.has(rule.verb)) continue;
    const expanded = expand(rule, schemas);
    // Two templates that differ only in the names of their variables are one path to OpenAPI.
    const entry = paths.get(expanded.shape) ?? { names: expanded.names, path: expanded.path, item: {} };
    paths.set(expanded.shape, entry);
    const verb = rule.verb.toLowerCase();
    if (Object.hasOwn(entry.item, verb)) continue;
    entry.item[verb] = operation({
      rule,
      schemas,
      comment,
      pathParameters: expanded.parameters.map((parameter, index) => ({
        ...parameter,
        name: entry.names[index] as string,
      })),
      operationId: numbered(operationIds, `${service.typeName}.${rule.method.name}`),
    });
  }

  const sorted = [...paths.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
  const tags = [...new Map(rules.map((rule) => [rule.descriptor.parent.typeName, rule.descriptor.parent])).values()]
    .sort((a, b) => (a.typeName < b.typeName ? -1 : 1))
    .map((service) => ({ name: service.typeName, ...description(comment(service)) }));
  return {
    openapi: '3.1.0',
    info: { title: [...services].sort().join(', ') || 'No services', version: '1' },
    tags,
    paths: Object.fromEntries(sorted.map(({ path, item }) => [path, item])),
    components: { schemas: schemas.all() },
  };
}

function numbered(counts: Map<string, number>, name: string): string {
  const count = (counts.get(name) ?? 0) + 1;
  counts.set(name, count);
  return count === 1 ? name : `${name}_${count}`;
}

function description(text: string | undefined): { readonly description?: string } {
  return text === undefined || text === '' ? {} : { description: text };
}

/**
 * A template as OpenAPI writes paths, where a variable is one segment: each `*` and `**` is a parameter, named for the
 * field that it is (a part of) the value of.
 */
function expand(
  rule: HttpRule,
  schemas: Schemas,
): {
  readonly path: string;
  readonly shape: string;
  readonly names: readonly string[];
  readonly parameters: readonly Omit<Parameter, 'name'>[];
} {
  const { segments, verb } = rule.template;
  const names: string[] = [];
  const parameters: Omit<Parameter, 'name'>[] = [];
  const parts = segments.map((segment, index) => {
    if (segment.kind === 'literal') return { shown: encodeURIComponent(segment.text), shape: segment.text };
    const variable = rule.variables.find(({ start, end }) => index >= start && (end === undefined || index < end));
    const base = variable === undefined ? 'segment' : pathName(variable.field);
    const taken = names.filter((name) => name === base || name.startsWith(`${base}_`)).length;
    const name = taken === 0 ? base : `${base}_${taken + 1}`;
    names.push(name);
    parameters.push({
      in: 'path',
      required: true,
      ...description(meaning(rule, variable, segment.kind)),
      schema:
        variable === undefined || variable.multiple
          ? { type: 'string' }
          : schemas.field(variable.field.at(-1) as DescField),
    });
    return { shown: `{${name}}`, shape: '{}' };
  });
  const suffix = verb === undefined ? '' : `:${encodeURIComponent(verb)}`;
  return {
    path: `/${parts.map(({ shown }) => shown).join('/')}${suffix}`,
    shape: `/${parts.map(({ shape }) => shape).join('/')}${suffix}`,
    names,
    parameters,
  };
}

function meaning(rule: HttpRule, variable: HttpRule['variables'][number] | undefined, kind: 'one' | 'rest'): string {
  const slashes = kind === 'rest' ? ' It may hold slashes.' : '';
  if (variable === undefined) return `Any text.${slashes}`;
  const field = pathName(variable.field);
  return variable.multiple
    ? `A part of ${field}, which is ${rule.template.text} here.${slashes}`
    : `The field ${field}.`;
}

function operation(options: {
  readonly rule: HttpRule;
  readonly schemas: Schemas;
  readonly comment: (about: Declaration) => string | undefined;
  readonly pathParameters: readonly Parameter[];
  readonly operationId: string;
}): Operation {
  const { rule, schemas, comment, pathParameters, operationId } = options;
  const { descriptor, method } = rule;
  const parameters = [...pathParameters, ...queryParameters(rule, schemas, comment)];
  return {
    operationId,
    tags: [descriptor.parent.typeName],
    ...description(comment(descriptor)),
    ...(descriptor.deprecated ? { deprecated: true } : {}),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(rule.body === 'none' ? {} : { requestBody: { content: requestContent(rule, schemas) } }),
    responses: {
      200: {
        description: method.serverStreaming ? 'The messages, as they come.' : 'The answer.',
        content: answerContent(rule, schemas),
      },
      default: { description: 'What failed, in words.', content: { 'text/plain': { schema: { type: 'string' } } } },
    },
  };
}

function requestContent(rule: HttpRule, schemas: Schemas): Readonly<Record<string, unknown>> {
  if (isRaw(rule)) return { '*/*': {} };
  const { body, descriptor, method } = rule;
  const schema = body === 'message' || body === 'none' ? schemas.message(descriptor.input) : schemas.field(body);
  return { [method.clientStreaming ? 'application/x-ndjson' : 'application/json']: { schema } };
}

function answerContent(rule: HttpRule, schemas: Schemas): Readonly<Record<string, unknown>> {
  const { responseBody, descriptor, method } = rule;
  if (isHttpBody(responseBody === undefined ? descriptor.output : singleMessage(responseBody))) return { '*/*': {} };
  const schema = responseBody === undefined ? schemas.message(descriptor.output) : schemas.field(responseBody);
  return method.serverStreaming
    ? { 'application/x-ndjson': { schema }, 'text/event-stream': { schema } }
    : { 'application/json': { schema } };
}

function singleMessage(field: DescField): DescMessage | undefined {
  return field.fieldKind === 'message' ? field.message : undefined;
}

/** Every field that the query can set: all that neither the path nor the body does. */
function queryParameters(
  rule: HttpRule,
  schemas: Schemas,
  comment: (about: Declaration) => string | undefined,
): Parameter[] {
  if (rule.body === 'message') return [];
  const { input } = rule.descriptor;
  const inPath = new Set(rule.variables.map(({ field }) => pathName(field)));
  const parameters: Parameter[] = [];
  const visit = (type: DescMessage, upper: readonly DescField[], above: readonly DescMessage[]): void => {
    // A message inside itself could go on without an end.
    if (above.includes(type)) return;
    for (const field of type.fields) {
      const path = [...upper, field];
      if (upper.length === 0 && field === rule.body) continue;
      if (inPath.has(pathName(path))) continue;
      if (
        'found' in
        resolveFieldPath(
          input,
          path.map(({ name }) => name),
        )
      ) {
        parameters.push({
          name: path.map(({ jsonName }) => jsonName).join('.'),
          in: 'query',
          ...description(comment(field)),
          schema: schemas.field(field),
        });
      } else if (field.fieldKind === 'message') {
        visit(field.message, path, [...above, type]);
      }
    }
  };
  visit(input, [], []);
  return parameters;
}
