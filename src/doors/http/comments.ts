import type { DescFile } from '@bufbuild/protobuf';
import { type Declaration, fileOf, placeOf } from '../../protocol/declarations.ts';

/** Comments that are for tools. */
const FOR_TOOLS = /^\s*(?:buf:lint:|@exclude)/;

/**
 * The comments above the declarations of a descriptor set, where it has them (`source_code_info`). Each file is looked
 * through once for as long as the returned function is kept.
 */
export function createComments(): (about: Declaration) => string | undefined {
  const files = new WeakMap<DescFile, ReadonlyMap<string, string>>();
  return (about) => {
    const file = fileOf(about);
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
