import { type DescField, type DescMessage, fromBinary, toBinary, toJson } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import { status } from '@grpc/grpc-js';
import { messageOf } from '../../errors.ts';
import type { Descriptors } from '../../protocol/descriptors.ts';
import { CallFailure } from '../calls.ts';
import { decodeHttpBody, isHttpBody } from './http-body.ts';
import type { HttpRule } from './http-rules.ts';

/** One message of an answer as it goes over HTTP. */
export interface Rendered {
  readonly contentType: string;
  readonly body: Uint8Array | string;
}

/** Writes the output messages of one rule. */
export interface ReplyWriter {
  /** `google.api.HttpBody`: the bytes go out as they are, never as JSON. */
  readonly raw: boolean;
  /**
   * One message, given as the bytes of the rule's output type: compact canonical proto3 JSON with default values
   * printed, 64-bit integers as strings, an Any by the function's own types; unset messages and oneofs are left out.
   * Where the rule names a `response_body`, that field alone, `null` where it is unset.
   *
   * Throws CallFailure INTERNAL for bytes that are not of the type, and for an Any whose type the function does not have.
   */
  render(value: Uint8Array): Rendered;
}

/** A writer for the answers of a rule. */
export function createReplyWriter(rule: HttpRule, descriptors: Descriptors): ReplyWriter {
  const type = rule.descriptor.output;
  const field = rule.responseBody;
  const rawField = field?.fieldKind === 'message' && isHttpBody(field.message) ? field : undefined;
  const raw = field === undefined ? isHttpBody(type) : rawField !== undefined;

  const json = (value: Uint8Array): string => {
    const whole = toJson(type, fromBinary(type, value), { registry: descriptors.registry, alwaysEmitImplicit: true });
    if (field === undefined) return JSON.stringify(whole);
    const part = Object.entries(whole as object).find(([name]) => name === field.jsonName)?.[1];
    return JSON.stringify(part ?? null);
  };
  const bytes = (value: Uint8Array): Rendered => {
    const { contentType, data } = decodeHttpBody(rawField === undefined ? value : inner(value, rawField));
    return { contentType, body: data };
  };
  const inner = (value: Uint8Array, of: DescField & { readonly fieldKind: 'message' }): Uint8Array =>
    toBinary(of.message, (reflect(type, fromBinary(type, value)).get(of) as ReflectMessage).message);
  return {
    raw,
    render: (value) =>
      whole(type, value, () => (raw ? bytes(value) : { contentType: 'application/json', body: json(value) })),
  };
}

function whole(type: DescMessage, value: Uint8Array, render: () => Rendered): Rendered {
  try {
    return render();
  } catch (cause) {
    throw new CallFailure(
      status.INTERNAL,
      `The function answered a ${type.typeName} (${value.length} bytes) that cannot be written as JSON: ${messageOf(cause)}. ` +
        'Build the function with the same .proto files that its descriptor set has.',
      { cause },
    );
  }
}
