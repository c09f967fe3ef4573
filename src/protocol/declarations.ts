import type { DescEnum, DescField, DescFile, DescMessage, DescMethod, DescService } from '@bufbuild/protobuf';
import type { SourceLocation } from './dialect.ts';

/** What stands in a .proto file and can be spoken of. */
export type Declaration = DescMessage | DescField | DescEnum | DescService | DescMethod;

/** Field numbers in descriptor.proto of the lists that a declaration can be in. */
const OF_FILE = { message: 4, enum: 5, service: 6 } as const;
const OF_MESSAGE = { field: 2, message: 3, enum: 4 } as const;
const METHOD_OF_SERVICE = 2;

/** Which declaration was looked at when something was thrown. */
const concerned = new WeakMap<object, Declaration>();

/** The file that it stands in. */
export function fileOf(declaration: Declaration): DescFile {
  return declaration.kind === 'field' || declaration.kind === 'rpc' ? declaration.parent.file : declaration.file;
}

/** Where in its file a declaration is, as `source_code_info` counts. */
export function placeOf(declaration: Declaration): number[] {
  switch (declaration.kind) {
    case 'message':
      return declaration.parent === undefined
        ? [OF_FILE.message, declaration.file.proto.messageType.indexOf(declaration.proto)]
        : [
            ...placeOf(declaration.parent),
            OF_MESSAGE.message,
            declaration.parent.proto.nestedType.indexOf(declaration.proto),
          ];
    case 'enum':
      return declaration.parent === undefined
        ? [OF_FILE.enum, declaration.file.proto.enumType.indexOf(declaration.proto)]
        : [
            ...placeOf(declaration.parent),
            OF_MESSAGE.enum,
            declaration.parent.proto.enumType.indexOf(declaration.proto),
          ];
    case 'field':
      return [
        ...placeOf(declaration.parent),
        OF_MESSAGE.field,
        declaration.parent.proto.field.indexOf(declaration.proto),
      ];
    case 'service':
      return [OF_FILE.service, declaration.file.proto.service.indexOf(declaration.proto)];
    case 'rpc':
      return [
        ...placeOf(declaration.parent),
        METHOD_OF_SERVICE,
        declaration.parent.proto.method.indexOf(declaration.proto),
      ];
  }
}

/** Does the work; what it throws concerns the declaration, unless something within it was said to be concerned. */
export function concerning<T>(declaration: Declaration, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (typeof error === 'object' && error !== null && !concerned.has(error)) concerned.set(error, declaration);
    throw error;
  }
}

/** Where the declaration stands that an error concerns; undefined where none is, or its file does not tell its lines. */
export function locationOf(error: object): SourceLocation | undefined {
  const declaration = concerned.get(error);
  if (declaration === undefined) return undefined;
  const file = fileOf(declaration).proto;
  const path = placeOf(declaration);
  const found = file.sourceCodeInfo?.location.find((one) => one.path.join('.') === path.join('.'));
  if (found === undefined) return undefined;
  // Three numbers where it ends in the line in which it begins (descriptor.proto).
  const [startLine = 0, startColumn = 0, third = 0, fourth] = found.span;
  return {
    file: file.name,
    path,
    startLine,
    startColumn,
    endLine: fourth === undefined ? startLine : third,
    endColumn: fourth ?? third,
  };
}
