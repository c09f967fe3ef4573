import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { derive, planReading, planWriting } from '../../../src/registry/kinds.ts';
import { createTopicReader } from '../../../src/registry/reading.ts';
import type { SchemaType } from '../../../src/registry/schema.ts';
import { schemaOf, shopType } from '../../registry/messages.ts';
import { createRandom } from '../../support/random.ts';
import { randomMessage } from '../../support/random-message.ts';
import { Cursor, type FuzzTarget, joined, orRefused, same } from '../target.ts';
import { isReject } from './refusals.ts';

const KINDS: readonly SchemaType[] = ['AVRO', 'JSON', 'PROTOBUF'];
const TYPE = shopType('Everything');

/** The parts of a schema and of a value that say what the rest is. */
const WORDS = [
  ...[
    '\x00\x00\x00\x00\x01',
    '\x00\x00\x00\x00\x02',
    '\x00\x00\x00\x00\x03',
    '\x00',
    '\x02',
    '\x01',
    '\xff\xff\xff\xff\x0f',
  ],
  ...[
    '{',
    '}',
    '[',
    ']',
    ':',
    ',',
    '"',
    'null',
    'true',
    '1e400',
    '9223372036854775808',
    '"some_text"',
    '"item"',
    '"by_name"',
  ],
];

/** Values that are framed for a schema registry: a message of the function's, or a refusal; what is written of it is read as the same. */
export function registry(): FuzzTarget {
  const schemas = KINDS.map((kind, n) => ({ ...schemaOf(kind, derive(kind, [TYPE])), id: n + 1 }));
  const reader = createTopicReader({ topic: 'fuzz', types: [TYPE], only: TYPE });
  for (const schema of schemas) reader.learn(schema.id, schema);
  const ways = schemas.map((schema) => planWriting(schema, [TYPE]).ways.get(TYPE.typeName));
  const random = createRandom(7);
  const messages = Array.from({ length: 6 }, () => toBinary(TYPE, randomMessage(random, TYPE, [TYPE])));
  const written = messages.flatMap((message) =>
    ways.flatMap((write) => orRefused(() => write?.(message), isRefusedReply) ?? []),
  );
  return {
    seeds: [
      ...written,
      joined('\x00\x00\x00\x00\x02{"some_text":"a","item":{"name":"b"},"counts":{"c":"1"}}'),
      joined(1, 'no frame'),
    ],
    words: WORDS,
    maxBytes: 1_024,
    run(input) {
      const read = orRefused(() => reader.read(input), isReject);
      if (read?.value === undefined) return;
      fromBinary(TYPE, read.value);
      for (const write of ways) {
        const value = orRefused(() => write?.(read.value as Uint8Array), isRefusedReply);
        if (value === undefined) continue;
        const again = reader.read(Buffer.from(value)).value ?? new Uint8Array();
        const once = write?.(again) ?? new Uint8Array();
        same(once, value, 'what is written of what was read');
      }
    },
  };
}

/** Texts of schemas, as a registry gives them: what they do not fit is told, and nothing is thrown. */
export function schemas(): FuzzTarget {
  return {
    seeds: KINDS.map((kind, n) => joined(n, derive(kind, [TYPE]))),
    words: [
      ...[
        '"type"',
        '"record"',
        '"fields"',
        '"name"',
        '"items"',
        '"values"',
        '"logicalType"',
        '"$ref"',
        '"oneOf"',
        '"properties"',
      ],
      ...[
        '{',
        '}',
        '[',
        ']',
        ':',
        ',',
        '"',
        'null',
        '__proto__',
        'message ',
        'import ',
        'map<string, ',
        'oneof ',
        'repeated ',
        ';',
      ],
    ],
    maxBytes: 4_096,
    run(input) {
      const cursor = new Cursor(input);
      const schema = schemaOf(cursor.pick(KINDS), cursor.rest().toString('latin1'));
      planReading(schema, [TYPE], TYPE);
      planWriting(schema, [TYPE]);
    },
  };
}

/** Whatever a way of writing throws, the topic's writer makes FUNCTION_BROKEN_REPLY of it. */
function isRefusedReply(error: unknown): boolean {
  return error instanceof Error;
}
