import type { DescField, DescMethod } from '@bufbuild/protobuf';
import { Reader } from 'protobufjs/minimal.js';
import { messageOf, StateferryError } from '../../errors.ts';
import type { Method } from '../../model/component.ts';
import type { Services } from '../services.ts';
import { type FieldPath, resolveFieldPath } from './field-path.ts';
import { type PathTemplate, parsePathTemplate, type TemplateVariable } from './path-template.ts';

/** Extension of `google.protobuf.MethodOptions` that holds a `google.api.HttpRule`. */
const HTTP_RULE = 72295728;
const LENGTH_DELIMITED = 2;

/** Field numbers of `google.api.HttpRule` whose value is a path, with the verb that they stand for. */
const PATTERNS: ReadonlyMap<number, string> = new Map([
  [2, 'GET'],
  [3, 'PUT'],
  [4, 'POST'],
  [5, 'DELETE'],
  [6, 'PATCH'],
]);

/** One way in which a method can be called over HTTP. */
export interface HttpRule {
  readonly method: Method;
  readonly descriptor: DescMethod;
  /** In upper case; `*` is every verb. */
  readonly verb: string;
  readonly template: PathTemplate;
  readonly variables: readonly BoundVariable[];
  /** What the request's body is: nothing, the input message but for the path's variables, or one field of it. */
  readonly body: 'none' | 'message' | DescField;
  /** The field of the output message that is the answer's body; absent: the whole message. */
  readonly responseBody?: DescField;
  /** The annotation asks for it; the other rules are those that every method has, `POST /<service>/<method>`. */
  readonly declared: boolean;
}

/** A variable of the path with the field that it sets. */
export interface BoundVariable extends TemplateVariable {
  readonly field: FieldPath;
}

/** `google.api.HttpRule` as the descriptor set has it, nothing checked. */
interface WrittenRule {
  verb?: string;
  path: string;
  body: string;
  responseBody: string;
  additional: WrittenRule[];
}

/**
 * All the ways in which the function's methods can be called over HTTP: by their `google.api.http` annotations, in order
 * of declaration, and then each at `POST /<package.Service>/<Method>` with the whole message as body.
 *
 * A rule that cannot be served is left out, and `faults` has a sentence about it.
 */
export function readHttpRules(services: Services): {
  readonly rules: readonly HttpRule[];
  readonly faults: readonly string[];
} {
  const declared: HttpRule[] = [];
  const everyMethod: HttpRule[] = [];
  const faults: string[] = [];
  for (const component of services.components.values()) {
    for (const method of component.methods.values()) {
      const name = `${component.service}.${method.name}`;
      const descriptor = services.descriptors.registry
        .getService(component.service)
        ?.methods.find((candidate) => candidate.name === method.name);
      if (descriptor === undefined) {
        faults.push(`${name} is not served over HTTP: the descriptor set does not have it.`);
        continue;
      }
      for (const written of attempt(name, faults, () => writtenRules(descriptor)) ?? []) {
        const rule = attempt(name, faults, () => bind(method, descriptor, written, true));
        if (rule !== undefined) declared.push(rule);
      }
      everyMethod.push(
        bind(
          method,
          descriptor,
          { verb: 'POST', path: `/${component.service}/${method.name}`, body: '*', responseBody: '', additional: [] },
          false,
        ),
      );
    }
  }
  return { rules: [...declared, ...everyMethod], faults };
}

function attempt<T>(name: string, faults: string[], read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    faults.push(
      `A google.api.http rule of ${name} is not served: ${messageOf(error)}. Correct the annotation in its .proto file.`,
    );
    return undefined;
  }
}

/** The rule of a method and its additional bindings, one after the other. */
function writtenRules(method: DescMethod): WrittenRule[] {
  const parts: Uint8Array[] = [];
  for (const field of method.proto.options?.$unknown ?? []) {
    if (field.no === HTTP_RULE && field.wireType === LENGTH_DELIMITED) parts.push(Reader.create(field.data).bytes());
  }
  if (parts.length === 0) return [];
  const rule = readRule(Buffer.concat(parts));
  return [{ ...rule, additional: [] }, ...rule.additional];
}

function readRule(bytes: Uint8Array): WrittenRule {
  const rule: WrittenRule = { path: '', body: '', responseBody: '', additional: [] };
  eachText(bytes, (number, reader) => {
    const verb = PATTERNS.get(number);
    if (verb !== undefined) {
      rule.verb = verb;
      rule.path = reader.string();
    } else if (number === 7) rule.body = reader.string();
    else if (number === 8) Object.assign(rule, readCustom(reader.bytes()));
    else if (number === 11) rule.additional.push(readRule(reader.bytes()));
    else if (number === 12) rule.responseBody = reader.string();
    else return false;
    return true;
  });
  return rule;
}

/** `CustomHttpPattern { string kind = 1; string path = 2; }` */
function readCustom(bytes: Uint8Array): Pick<WrittenRule, 'verb' | 'path'> {
  const custom = { verb: '', path: '' };
  eachText(bytes, (number, reader) => {
    if (number === 1) custom.verb = reader.string().toUpperCase();
    else if (number === 2) custom.path = reader.string();
    else return false;
    return true;
  });
  return custom;
}

/** Hands every length-delimited field over; what is not read is skipped. */
function eachText(bytes: Uint8Array, read: (number: number, reader: Reader) => boolean): void {
  const reader = Reader.create(bytes);
  while (reader.pos < reader.len) {
    const tag = reader.tag();
    const wire = tag & 7;
    if (wire !== LENGTH_DELIMITED || !read(tag >>> 3, reader)) reader.skipType(wire, 0, tag >>> 3);
  }
}

function bind(method: Method, descriptor: DescMethod, written: WrittenRule, declared: boolean): HttpRule {
  const { verb } = written;
  if (verb === undefined) throw fault('it has no path: one of get, put, post, delete, patch and custom must be there');
  if (!/^([A-Z][A-Z0-9-]*|\*)$/.test(verb)) throw fault(`its custom kind ${JSON.stringify(verb)} is not an HTTP verb`);
  const where = `${verb} ${written.path}`;
  if (written.additional.length > 0) throw fault(`${where} is an additional binding and has some of its own`);
  const template = parsePathTemplate(written.path);
  const variables = template.variables.map((variable): BoundVariable => {
    const resolved = resolveFieldPath(descriptor.input, variable.path);
    const name = variable.path.join('.');
    if ('fault' in resolved) throw fault(`${where} has the variable {${name}}, but ${resolved.fault}`);
    if (resolved.found.at(-1)?.fieldKind === 'list')
      throw fault(`${where} has the variable {${name}}, which is repeated`);
    return { ...variable, field: resolved.found };
  });
  const names = variables.map((variable) => variable.path.join('.'));
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw fault(`${where} has the variable {${twice}} twice`);
  return {
    method,
    descriptor,
    verb,
    template,
    variables,
    body: bodyOf(descriptor, written.body, where),
    ...(written.responseBody === ''
      ? {}
      : { responseBody: topField(descriptor.output.fields, written.responseBody, `the response_body of ${where}`) }),
    declared,
  };
}

function bodyOf(descriptor: DescMethod, body: string, where: string): HttpRule['body'] {
  if (body === '') return 'none';
  if (body === '*') return 'message';
  return topField(descriptor.input.fields, body, `the body of ${where}`);
}

function topField(fields: readonly DescField[], name: string, what: string): DescField {
  const found = fields.find((field) => field.name === name);
  if (found === undefined) {
    throw fault(`${what} is the field ${name}, but ${fields[0]?.parent.typeName ?? 'the message'} has no such field`);
  }
  return found;
}

function fault(reason: string): StateferryError {
  return new StateferryError('FUNCTION_SPEC', reason);
}
