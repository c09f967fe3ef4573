import { create, type DescField, fromBinary, type Message, mergeFromJsonString, toBinary } from '@bufbuild/protobuf';
import { reflect } from '@bufbuild/protobuf/reflect';
import { messageOf } from '../../errors.ts';
import type { Descriptors } from '../../protocol/descriptors.ts';
import { type FieldPath, isUnder, pathName, resolveFieldPath } from './field-path.ts';
import { setFieldText } from './field-text.ts';
import { isJson } from './header-text.ts';
import { encodeHttpBody, isHttpBody } from './http-body.ts';
import { badRequest, quoted } from './http-failure.ts';
import type { HttpRule } from './http-rules.ts';
import { checkedJson } from './json-text.ts';
import type { Match, PathValue } from './router.ts';

/** The body of a request, whole. */
export interface RequestBody {
  readonly contentType: string | undefined;
  readonly bytes: Uint8Array;
}

/** Puts the input messages of one request together. */
export interface RequestReader {
  /**
   * The input message of the request's path, its query and this body, as bytes. Empty bytes are no body: the fields that
   * it would set are left out. A body that the rule has no place for is passed over.
   * Throws HttpFailure 400.
   */
  message(body: RequestBody): Uint8Array;
}

/**
 * Reads a request for the rule that it goes by: the variables of its path, then its query (raw, without the question
 * mark), both checked here; then each body that `message` is given. `maxJsonDepth` is how deep JSON may nest.
 *
 * Query parameters are fields by the dotted path of either of their names: everything that neither the path nor the body
 * sets, but for maps and messages that are not one text in JSON. A repeated field takes a parameter for each element.
 *
 * Throws HttpFailure 400 for a parameter or a variable that is not a field of the method or not of its type.
 */
export function createRequestReader(options: {
  readonly match: Match;
  readonly query: string;
  readonly descriptors: Descriptors;
  readonly maxJsonDepth: number;
}): RequestReader {
  const { match, descriptors, maxJsonDepth } = options;
  const { rule } = match;
  const type = rule.descriptor.input;
  const parameters = queryFields(rule, match.values, options.query);
  const jsonOptions = { registry: descriptors.registry, recursionLimit: maxJsonDepth + 1 };

  const base = (): Message => create(type);
  const applyTexts = (message: Message): void => {
    const target = reflect(type, message);
    for (const { variable, text } of match.values) setFieldText(target, variable.field, [text], 'path');
    for (const { path, texts } of parameters) setFieldText(target, path, texts, 'query');
  };
  // So that a fault of path or query is told before a body is waited for.
  applyTexts(base());

  const readJson = (message: Message, body: RequestBody): void => {
    if (!isJson(body.contentType)) {
      throw badRequest(
        `The content type ${quoted(body.contentType ?? '')} is not the one of this method; send application/json, in UTF-8.`,
      );
    }
    const text = checkedJson(body.bytes, type, maxJsonDepth);
    const whole = rule.body === 'message' ? text : `{${JSON.stringify((rule.body as DescField).jsonName)}:${text}}`;
    try {
      mergeFromJsonString(type, message, whole, jsonOptions);
    } catch (cause) {
      throw badRequest(`The body is not the JSON of a ${type.typeName}: ${messageOf(cause)}.`, cause);
    }
  };

  return {
    message(body) {
      const message = base();
      if (isRaw(rule)) {
        const raw = encodeHttpBody(body.contentType, body.bytes);
        if (rule.body === 'message') return raw;
        const field = rule.body as DescField & { readonly fieldKind: 'message' };
        reflect(type, message).set(field, reflect(field.message, fromBinary(field.message, raw)));
      } else if (rule.body !== 'none' && body.bytes.length > 0) {
        readJson(message, body);
      }
      applyTexts(message);
      try {
        return toBinary(type, message);
      } catch (cause) {
        throw badRequest(`The request does not make a ${type.typeName}: ${messageOf(cause)}.`, cause);
      }
    },
  };
}

/** Is the body of this rule taken as it is, whatever it holds? */
export function isRaw(rule: HttpRule): boolean {
  if (rule.body === 'none') return false;
  if (rule.body === 'message') return isHttpBody(rule.descriptor.input);
  return rule.body.fieldKind === 'message' && isHttpBody(rule.body.message);
}

interface QueryField {
  readonly path: FieldPath;
  readonly texts: string[];
}

function queryFields(rule: HttpRule, values: readonly PathValue[], query: string): readonly QueryField[] {
  const fields = new Map<string, QueryField>();
  for (const { name, text } of queryParameters(query)) {
    const refuse = (reason: string) => badRequest(`The query parameter ${quoted(name)} is not taken: ${reason}.`);
    if (rule.body === 'message') throw refuse(`the body holds all of the ${rule.descriptor.input.typeName}`);
    const resolved = resolveFieldPath(rule.descriptor.input, name.split('.'));
    if ('fault' in resolved) throw refuse(resolved.fault);
    const path = resolved.found;
    if (rule.body !== 'none' && path[0] === rule.body) throw refuse(`${rule.body.name} is the body`);
    if (values.some(({ variable }) => isUnder(path, variable.field))) throw refuse('it is in the path');
    const key = pathName(path);
    const field = fields.get(key);
    if (field === undefined) fields.set(key, { path, texts: [text] });
    else field.texts.push(text);
  }
  return [...fields.values()];
}

function queryParameters(query: string): { readonly name: string; readonly text: string }[] {
  return query
    .split('&')
    .filter((part) => part !== '')
    .map((part) => {
      const equals = part.indexOf('=');
      return equals < 0
        ? { name: decode(part), text: '' }
        : { name: decode(part.slice(0, equals)), text: decode(part.slice(equals + 1)) };
    });
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch (cause) {
    throw badRequest(
      `The query has ${quoted(text)}, which is not validly percent-encoded: each % is followed by two hexadecimal digits, and the bytes are UTF-8.`,
      cause,
    );
  }
}
