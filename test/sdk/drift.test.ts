import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { devNull } from 'node:os';
import path from 'node:path';
import protobuf from 'protobufjs';
import { describe, expect, it } from 'vitest';
import { packagePath } from '../../src/package-path.ts';
import { loadProtos, loadWire, type WireDialect } from '../../src/protocol/wire.ts';

const require = createRequire(import.meta.url);
const buf = path.join(path.dirname(require.resolve('@bufbuild/buf/package.json')), 'bin/buf');

interface Sdk {
  readonly dialect: WireDialect;
  readonly packageName: string;
  /** Files of the SDK that the runtime has no part in; proto/README.md says why. */
  readonly leftOut: readonly string[];
}

const SDKS: readonly Sdk[] = [
  {
    dialect: 'kalix',
    packageName: '@kalix-io/kalix-javascript-sdk',
    leftOut: ['kalix/backoffice/backoffice.proto', 'kalix/schema/schema.proto'],
  },
  { dialect: 'akkaserverless', packageName: '@lightbend/akkaserverless-javascript-sdk', leftOut: [] },
];

describe.each(SDKS)('the wire contract of $dialect', ({ dialect, packageName, leftOut }) => {
  const folder = path.join(path.dirname(require.resolve(`${packageName}/package.json`)), 'proto');
  const files = readdirSync(path.join(folder, dialect), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.proto'))
    .map((file) => path.posix.join(dialect, file))
    .filter((file) => !leftOut.includes(file))
    .sort();
  const theirs = declarationsOf(loadProtos(folder, files), dialect);
  const ours = declarationsOf(loadWire(dialect), dialect);

  it.each(files)('states all that the SDK declares in %s, and states it alike', (file) => {
    const inFile = theirs.filter((declaration) => declaration.file === path.join(folder, file));
    const names = new Set(inFile.map((declaration) => declaration.name));

    expect(inFile.length).toBeGreaterThan(0);
    expect(linesOf(ours.filter((declaration) => names.has(declaration.name)))).toEqual(linesOf(inFile));
  });

  it('states nothing that the SDK does not', () => {
    const names = new Set(theirs.map((declaration) => declaration.name));

    expect(linesOf(ours.filter((declaration) => !names.has(declaration.name)))).toEqual([]);
  });

  it('is accepted by a protobuf compiler, which is stricter than the loader', () => {
    const compile = () =>
      execFileSync(process.execPath, [buf, 'build', 'proto', '--path', `proto/${dialect}`, '-o', devNull], {
        cwd: packagePath('.'),
        stdio: 'pipe',
      });

    expect(compile).not.toThrow();
  });
});

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
