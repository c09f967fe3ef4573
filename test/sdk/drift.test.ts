import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { devNull } from 'node:os';
import path from 'node:path';
import protobuf from 'protobufjs';
import { describe, expect, it } from 'vitest';
import { packagePath } from '../../src/package-path.ts';
import { loadProtos, loadWire, type WireDialect } from '../../src/protocol/wire.ts';
import { ONLY_FIRST, ONLY_LAST } from './last-cloudstate.ts';

const require = createRequire(import.meta.url);
const buf = path.join(path.dirname(require.resolve('@bufbuild/buf/package.json')), 'bin/buf');

interface Sdk {
  readonly dialect: WireDialect;
  readonly packageName: string;
  /** Folder of its .proto files, and the protobuf package that they are all in or below. */
  readonly root: string;
  /** Files of the SDK that the runtime has no part in; proto/README.md says why. */
  readonly leftOut: readonly string[];
  /** What other SDKs of the dialect have besides. */
  readonly besides: readonly string[];
}

const SDKS: readonly Sdk[] = [
  {
    dialect: 'kalix',
    packageName: '@kalix-io/kalix-javascript-sdk',
    root: 'kalix',
    leftOut: ['kalix/backoffice/backoffice.proto', 'kalix/schema/schema.proto'],
    besides: [],
  },
  {
    dialect: 'akkaserverless',
    packageName: '@lightbend/akkaserverless-javascript-sdk',
    root: 'akkaserverless',
    leftOut: [],
    besides: [],
  },
  {
    dialect: 'cloudstate-first',
    packageName: 'cloudstate',
    root: 'cloudstate',
    leftOut: [],
    // The Java SDK 0.5.2 knows metadata.
    besides: [
      'cloudstate.Command.metadata: 6, .cloudstate.Metadata',
      'cloudstate.Forward.metadata: 4, .cloudstate.Metadata',
      'cloudstate.Metadata: message',
      'cloudstate.Metadata.entries: 1, repeated .cloudstate.MetadataEntry',
      'cloudstate.MetadataEntry: message',
      'cloudstate.MetadataEntry.bytes_value: 3, bytes of value',
      'cloudstate.MetadataEntry.key: 1, string',
      'cloudstate.MetadataEntry.string_value: 2, string of value',
      'cloudstate.Reply.metadata: 2, .cloudstate.Metadata',
      'cloudstate.SideEffect.metadata: 5, .cloudstate.Metadata',
      'cloudstate.function.FunctionCommand.metadata: 5, .cloudstate.Metadata',
    ],
  },
];

describe.each(SDKS)('the wire contract of $dialect', ({ dialect, packageName, root, leftOut, besides }) => {
  const folder = path.join(path.dirname(require.resolve(`${packageName}/package.json`)), 'proto');
  const files = readdirSync(path.join(folder, root), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.proto'))
    .map((file) => path.posix.join(root, file))
    .filter((file) => !leftOut.includes(file))
    .sort();
  const theirs = declarationsOf(loadProtos(folder, files), root);
  const ours = declarationsOf(loadWire(dialect), root);

  it.each(files)('states all that the SDK declares in %s, and states it alike', (file) => {
    const inFile = theirs.filter((declaration) => declaration.file === path.join(folder, file));
    const names = new Set(inFile.map((declaration) => declaration.name));

    expect(inFile.length).toBeGreaterThan(0);
    expect(linesOf(ours.filter((declaration) => names.has(declaration.name)))).toEqual(linesOf(inFile));
  });

  it('states nothing that the SDK does not, but for what is named here', () => {
    const names = new Set(theirs.map((declaration) => declaration.name));

    expect(linesOf(ours.filter((declaration) => !names.has(declaration.name)))).toEqual([...besides].sort());
  });
});

// No package has the .proto files of the last Cloudstate protocol.
describe('the wire contract of cloudstate, the last of its name', () => {
  const first = declarationsOf(loadWire('cloudstate-first'), 'cloudstate');
  const last = declarationsOf(loadWire('cloudstate'), 'cloudstate');
  const namesOf = (declarations: readonly Declaration[]) => declarations.map(({ name }) => name).sort();

  it('has what the first Cloudstate protocol lacks', () => {
    expect(linesOf(last).filter((line) => !linesOf(first).includes(line))).toEqual(ONLY_LAST);
  });

  it('lacks what only the first Cloudstate protocol has', () => {
    expect(namesOf(first).filter((name) => !namesOf(last).includes(name))).toEqual(ONLY_FIRST);
  });
});

it.each<WireDialect>(['cloudstate-first', 'cloudstate', 'akkaserverless', 'kalix'])(
  'the wire contract of %s is accepted by a protobuf compiler, which is stricter than the loader',
  (dialect) => {
    const compile = () =>
      execFileSync(process.execPath, [buf, 'build', 'proto', '--path', `proto/${dialect}`, '-o', devNull], {
        cwd: packagePath('.'),
        stdio: 'pipe',
      });

    expect(compile).not.toThrow();
  },
);

interface Declaration {
  readonly name: string;
  /** Everything about it that both sides of the wire have to agree on. */
  readonly facts: string;
  readonly file: string | null;
}

function linesOf(declarations: readonly Declaration[]): string[] {
  return declarations.map(({ name, facts }) => `${name}: ${facts}`).sort();
}

/** Messages, fields, oneof membership, enum values, methods and extensions under the package `name`, by full name. */
function declarationsOf(root: protobuf.Root, name: string): Declaration[] {
  const found: Declaration[] = [];
  const add = (object: protobuf.ReflectionObject, facts: string, member = '') =>
    found.push({ name: object.fullName.slice(1) + member, facts, file: object.filename });

  const visit = (object: protobuf.ReflectionObject): void => {
    if (object instanceof protobuf.Type) {
      add(object, 'message');
      for (const field of object.fieldsArray) add(field, factsOf(field));
    } else if (object instanceof protobuf.Enum) {
      add(object, 'enum');
      for (const [value, number] of Object.entries(object.values)) add(object, String(number), `.${value}`);
    } else if (object instanceof protobuf.Service) {
      add(object, 'service');
      for (const method of object.methodsArray) add(method, signatureOf(method));
    } else if (object instanceof protobuf.Field) {
      const extended = object.extensionField?.parent?.fullName ?? 'nothing';
      add(object, `extends ${extended} by ${object.extensionField?.id}, ${typeOf(object.extensionField ?? object)}`);
    }
    if (object instanceof protobuf.Namespace) object.nestedArray.forEach(visit);
  };
  visit(root.lookup(name) ?? root);
  return found;
}

function factsOf(field: protobuf.Field): string {
  const oneof = field.partOf === null ? '' : ` of ${field.partOf.name}`;
  return `${field.id}, ${field.repeated ? 'repeated ' : ''}${typeOf(field)}${oneof}`;
}

function typeOf(field: protobuf.Field): string {
  const type = field.resolve().resolvedType?.fullName ?? field.type;
  return field instanceof protobuf.MapField ? `map of ${field.keyType} to ${type}` : type;
}

function signatureOf(method: protobuf.Method): string {
  method.resolve();
  const side = (type: protobuf.Type | null, stream: boolean | undefined) =>
    `${stream === true ? 'stream ' : ''}${type?.fullName}`;
  const request = side(method.resolvedRequestType, method.requestStream);
  return `${request} returns ${side(method.resolvedResponseType, method.responseStream)}`;
}
