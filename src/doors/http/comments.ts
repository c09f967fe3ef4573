import type { DescEnum, DescField, DescFile, DescMessage, DescMethod, DescService } from '@bufbuild/protobuf';

/** What a comment in a .proto file can be about. */
export type Commented = DescMessage | DescField | DescEnum | DescService | DescMethod;

/** Field numbers in descriptor.proto of the lists that a declaration can be in. */
const OF_FILE = { message: 4, enum: 5, service: 6 } as const;
const OF_MESSAGE = { field: 2, message: 3, enum: 4 } as const;
const METHOD_OF_SERVICE = 2;

/** Comments that are for tools. */
const FOR_TOOLS = /^\s*(?:buf:lint:|@exclude)/;

/**
 * The comments above the declarations of a descriptor set, where it has them (`source_code_info`). Each file is looked
 * through once for as long as the returned function is kept.
 */
export function createComments(): (about: Commented) => string | undefined {
  const files = new WeakMap<DescFile, ReadonlyMap<string, string>>();
  return (about) => {
    const file = about.kind === 'field' || about.kind === 'rpc' ? about.parent.file : about.file;
    const known = files.get(file) ?? commentsOf(file);
    files.set(file, known);
    return known.get(placeOf(about).join('.'));
  };
}

function commentsOf(file: DescFile): ReadonlyMap<string, string> {
  const comments = new Map<string, string>();
  for (const { path, leadingComments } of file.proto.sourceCodeInfo?.location ?? []) {
    const text = leadingComments
      .split('\n')
      .filter((line) => !FOR_TOOLS.test(line))
      .map((line) => line.replace(/^ /, '').trimEnd())
      .join('\n')
      .trim();
    if (text !== '') comments.set(path.join('.'), text);
  }
  return comments;
}

/** Where in its file a declaration is, as `source_code_info` counts. */
function placeOf(about: Commented): number[] {
  switch (about.kind) {
    case 'message':
      return about.parent === undefined
        ? [OF_FILE.message, about.file.proto.messageType.indexOf(about.proto)]
        : [...placeOf(about.parent), OF_MESSAGE.message, about.parent.proto.nestedType.indexOf(about.proto)];
    case 'enum':
      return about.parent === undefined
        ? [OF_FILE.enum, about.file.proto.enumType.indexOf(about.proto)]
        : [...placeOf(about.parent), OF_MESSAGE.enum, about.parent.proto.enumType.indexOf(about.proto)];
    case 'field':
      return [...placeOf(about.parent), OF_MESSAGE.field, about.parent.proto.field.indexOf(about.proto)];
    case 'service':
      return [OF_FILE.service, about.file.proto.service.indexOf(about.proto)];
    case 'rpc':
      return [...placeOf(about.parent), METHOD_OF_SERVICE, about.parent.proto.method.indexOf(about.proto)];
  }
}
