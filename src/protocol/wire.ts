import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import protobuf from 'protobufjs';
import { asBuffer } from '../bytes.ts';
import { packagePath } from '../package-path.ts';

/** The dialects whose wire contract is stated in proto/. */
export type WireDialect = 'cloudstate-first' | 'cloudstate' | 'akkaserverless' | 'kalix';

const GOOGLE = 'google/protobuf/';
const NO_BYTES = new Uint8Array();
const LONG_TYPES = ['int64', 'uint64', 'sint64', 'fixed64', 'sfixed64'] as const;

const requireFrom = createRequire(import.meta.url);
const loaded = new Map<WireDialect, protobuf.Root>();

/**
 * The wire contract of a dialect, as protobufjs types: `loadWire('kalix').lookupType('kalix.component.Reply')`.
 * Read from proto/ once per process; later calls answer the same root, which is not to be changed.
 *
 * - Fields, and so the properties of messages, have the names of the .proto files: `command_id`.
 * - 64-bit integers are JavaScript numbers, decoded or absent (0). They are exact up to 2^53, which the contract's ids,
 *   sequences and milliseconds do not reach. This holds for this root's types alone: protobufjs as the rest of the
 *   process uses it stays as it is.
 * - An absent message field is null; an absent bytes field, which is how an empty one travels, is an empty Uint8Array.
 * - A oneof tells its member: `message.client_action.action === 'reply'`.
 * - `decode` shares memory with what it was given: a `bytes` field is a view, not a copy. Unknown fields are dropped.
 * - `google.protobuf.FileDescriptorSet` is in the root, with the dialect's options as fields under their full names:
 *   a decoded MethodDescriptorProto has `options['.kalix.method']`.
 */
export function loadWire(dialect: WireDialect): protobuf.Root {
  let root = loaded.get(dialect);
  if (root === undefined) {
    const folder = packagePath('proto');
    root = loadProtos(
      folder,
      readdirSync(path.join(folder, dialect)).map((file) => `${dialect}/${file}`),
    );
    loaded.set(dialect, root);
  }
  return root;
}

/** Loads `files`, given relative to `folder`, under which their imports are too, as `loadWire` promises it. */
export function loadProtos(folder: string, files: readonly string[]): protobuf.Root {
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) =>
    target.startsWith(GOOGLE) ? requireFrom.resolve(`protobufjs/${target}`) : path.join(folder, target);
  root.loadSync([...files], { keepCase: true });
  for (const type of typesIn(root)) {
    readNumbers(type);
    readEmptyBytes(type);
  }
  return root;
}

/** Every message type below `namespace`, nested ones included. */
export function* typesIn(namespace: protobuf.NamespaceBase): Generator<protobuf.Type> {
  for (const object of namespace.nestedArray) {
    if (object instanceof protobuf.Type) yield object;
    if (object instanceof protobuf.Namespace) yield* typesIn(object);
  }
}

/** Makes a resolved type's 64-bit integers numbers: their defaults, and what `decode` reads. */
function readNumbers(type: protobuf.Type): void {
  for (const field of type.fieldsArray) {
    if (!field.long) continue;
    field.long = false;
    if (field.typeDefault !== null) field.typeDefault = protobuf.util.LongBits.from(field.typeDefault).toNumber();
    if (!field.repeated && !field.map) field.defaultValue = field.typeDefault;
  }
  type.setup();
  const decode = type.decode;
  // Called for nested messages too, then with a reader and with arguments of protobufjs' own.
  type.decode = function decodeNumbers(source, ...rest) {
    return decode.call(this, source instanceof protobuf.Reader ? source : new NumberReader(source), ...rest);
  };
}

/** Makes the default of a resolved type's bytes fields bytes: protobufjs' own is an array of numbers. */
function readEmptyBytes(type: protobuf.Type): void {
  for (const field of type.fieldsArray) {
    if (field.type !== 'bytes' || field.repeated || field.map) continue;
    field.typeDefault = NO_BYTES;
    field.defaultValue = NO_BYTES;
    // Where a decoded message that lacks the field finds it.
    (type.ctor.prototype as Record<string, unknown>)[field.name] = NO_BYTES;
  }
}

/** Reads 64-bit integers as numbers whether or not protobufjs has found a Long class. */
class NumberReader extends protobuf.BufferReader {
  constructor(bytes: Uint8Array) {
    super(asBuffer(bytes));
  }
}

for (const type of LONG_TYPES) {
  const read = protobuf.Reader.prototype[type];
  const unsigned = type === 'uint64' || type === 'fixed64';
  // Defined, not overridden, since the library's typings know no reader that answers numbers.
  Object.defineProperty(NumberReader.prototype, type, {
    value(this: protobuf.Reader): number {
      return protobuf.util.LongBits.from(read.call(this)).toNumber(unsigned);
    },
  });
}
