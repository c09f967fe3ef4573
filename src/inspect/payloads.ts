import { readAny } from '../codec/any.ts';
import { payloadToJson } from '../codec/json.ts';
import { decodeReplicatedDelta, isReplicatedDelta } from '../codec/replicated-record.ts';
import type { FunctionVersion } from '../journal/function-versions.ts';
import type { Payload } from '../model/payload.ts';
import { type Descriptors, readDescriptors } from '../protocol/descriptors.ts';
import { compactJson } from './compact-json.ts';
import { deltaToJson } from './replicated-json.ts';

/** Reads payloads as JSON by what the journal remembers of the function. */
export interface PayloadReader {
  /**
   * Compact JSON of a payload. A protobuf message is read by the version with the digest `wroteIt`, else by the newest one
   * that can read it. Undefined: none can, or the bytes are not what the type url says.
   */
  read(payload: Payload, wroteIt?: string | null): string | undefined;
}

/** `versions`: the newest first. */
export function createPayloadReader(
  versions: readonly Pick<FunctionVersion, 'digest' | 'descriptors'>[],
): PayloadReader {
  const known = new Map<string, Descriptors | undefined>();
  const descriptorsOf = ({ digest, descriptors }: (typeof versions)[number]): Descriptors | undefined => {
    if (!known.has(digest))
      known.set(
        digest,
        attempt(() => readDescriptors(descriptors)),
      );
    return known.get(digest);
  };

  function readMessage(payload: Payload, typeName: string, wroteIt: string | null | undefined): string | undefined {
    const writer = versions.find(({ digest }) => digest === wroteIt);
    const order = writer === undefined ? versions : [writer, ...versions.filter((version) => version !== writer)];
    for (const version of order) {
      const descriptors = descriptorsOf(version);
      if (descriptors?.registry.getMessage(typeName) === undefined) continue;
      const text = attempt(() => payloadToJson(descriptors, payload));
      if (text !== undefined) return text;
    }
    return undefined;
  }

  const reader: PayloadReader = {
    read(payload, wroteIt) {
      if (isReplicatedDelta(payload)) {
        const delta = attempt(() => decodeReplicatedDelta(payload));
        return delta && JSON.stringify(deltaToJson(delta, (inner) => reader.read(inner, wroteIt)));
      }
      const content = attempt(() => readAny(payload));
      switch (content?.kind) {
        case undefined:
          return undefined;
        case 'protobuf':
          return readMessage(payload, content.typeName, wroteIt);
        case 'json':
          return compactJson(content.text);
        case 'number':
        case 'bool':
          return content.text;
        case 'string':
          return JSON.stringify(content.value);
        case 'bytes':
          return JSON.stringify(Buffer.from(content.value).toString('base64'));
      }
    },
  };
  return reader;
}

/** What cannot be read is shown as bytes, so why it cannot is nobody's concern. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
