import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { beforeAll, describe, expect, it } from 'vitest';
import { messageType, readDescriptors } from '../../src/protocol/descriptors.ts';
import { compileProtos } from '../support/compile-protos.ts';

const BASE = `
syntax = "proto3";
package base;
import "google/protobuf/timestamp.proto";
message Money { int64 cents = 1; google.protobuf.Timestamp at = 2; }
`;
const MIDDLE = `
syntax = "proto3";
package middle;
import "base.proto";
message Price { base.Money money = 1; }
`;
const TOP = `
syntax = "proto3";
package top;
import "middle.proto";
import "base.proto";
service Till { rpc Pay(middle.Price) returns (base.Money); }
`;

let sorted: Uint8Array;
beforeAll(() => {
  sorted = compileProtos({ 'base.proto': BASE, 'middle.proto': MIDDLE, 'top.proto': TOP });
});

function changed(change: (files: ReturnType<typeof filesOf>) => ReturnType<typeof filesOf>): Uint8Array {
  return toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: change(filesOf(sorted)) }));
}

function filesOf(set: Uint8Array) {
  return fromBinary(FileDescriptorSetSchema, set).file;
}

describe('readDescriptors', () => {
  it.each([
    ['as protoc sorts them', () => sorted],
    ['in reverse', () => changed((files) => files.reverse())],
    ['rotated', () => changed((files) => [...files.slice(2), ...files.slice(0, 2)])],
  ])('finds every type and gives each file after its imports, the files being %s', (_title, set) => {
    const { registry, files } = readDescriptors(set());

    expect(registry.getService('top.Till')?.methods[0]?.input.typeName).toBe('middle.Price');
    expect(registry.getMessage('base.Money')?.fields.map((field) => field.name)).toEqual(['cents', 'at']);
    const names = files.map((file) => file.name);
    expect([...names].sort()).toEqual(['base.proto', 'google/protobuf/timestamp.proto', 'middle.proto', 'top.proto']);
    for (const file of files) {
      for (const imported of file.dependency) expect(names.indexOf(imported)).toBeLessThan(names.indexOf(file.name));
    }
  });

  it('gives fields the names in JSON that generated code leaves out, and keeps those that are there', () => {
    const named = compileProtos({
      'named.proto': `
        syntax = "proto3";
        message Outer {
          message Inner { string product_id = 1; map<string, int32> by_name = 2; }
          string user_id = 1;
          string kept = 2 [json_name = "told"];
        }`,
    });
    const files = filesOf(named);
    const outer = files[0]?.messageType[0];
    for (const field of [outer?.field[0], ...(outer?.nestedType[0]?.field ?? [])]) if (field) field.jsonName = '';

    const { registry } = readDescriptors(
      toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: files })),
    );

    const jsonNames = (type: string) => registry.getMessage(type)?.fields.map(({ jsonName }) => jsonName);
    expect([jsonNames('Outer'), jsonNames('Outer.Inner')]).toEqual([
      ['userId', 'told'],
      ['productId', 'byName'],
    ]);
  });

  it('adds an imported google/protobuf file that the set lacks', () => {
    const { registry } = readDescriptors(
      changed((files) => files.filter((file) => !file.name.startsWith('google/protobuf/'))),
    );

    expect(registry.getMessage('google.protobuf.Timestamp')?.fields).toHaveLength(2);
  });

  it.each([
    ['bytes that are no descriptor set', () => Buffer.from('not a descriptor set'), /is not a google\.protobuf\.File/],
    ['a cut-off set', () => sorted.subarray(0, sorted.length - 3), /is not a google\.protobuf\.FileDescriptorSet/],
    [
      'a missing import',
      () => changed((files) => files.filter((file) => file.name !== 'base.proto')),
      /lacks base\.proto, which (middle|top)\.proto imports/,
    ],
    ['a file that is there twice', () => changed((files) => [...files, ...files]), /timestamp\.proto twice/],
    [
      'a circle of imports',
      () =>
        changed((files) =>
          files.map((file) => (file.name === 'base.proto' ? { ...file, dependency: ['top.proto'] } : file)),
        ),
      /circle of imports/,
    ],
    [
      'a type that does not resolve',
      () => changed((files) => files.map((file) => (file.name === 'base.proto' ? { ...file, messageType: [] } : file))),
      /does not hold together/,
    ],
  ])('refuses %s, as FUNCTION_SPEC', (_title, set, sentence) => {
    expect(() => readDescriptors(set())).toThrow(
      expect.objectContaining({ code: 'FUNCTION_SPEC', message: expect.stringMatching(sentence) }),
    );
  });

  it('reads an empty set as a function without types', () => {
    expect(readDescriptors(new Uint8Array(0)).files).toEqual([]);
  });
});

describe('messageType', () => {
  it('names the type that is not there', () => {
    expect(() => messageType(readDescriptors(sorted), 'base.Gold')).toThrow(
      expect.objectContaining({ code: 'FUNCTION_SPEC', message: expect.stringContaining('base.Gold') }),
    );
  });
});
