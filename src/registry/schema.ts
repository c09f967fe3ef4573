/** The kinds of schema, as the registry's API names them. */
export type SchemaType = 'AVRO' | 'JSON' | 'PROTOBUF';

/** How one schema names another one that it imports. */
export interface SchemaReference {
  readonly name: string;
  readonly subject: string;
  readonly version: number;
}

/** The text of a schema, and what it refers to. */
export interface SchemaText {
  readonly type: SchemaType;
  readonly text: string;
  readonly references: readonly SchemaReference[];
}

/** A schema that was read with everything that it refers to. */
export interface LoadedSchema extends SchemaText {
  readonly id: number;
  /** By name, each after those that it refers to itself. */
  readonly imports: readonly { readonly name: string; readonly text: string }[];
  /** What it or something in it refers to and the registry does not have; empty: nothing. */
  readonly missing: readonly SchemaReference[];
}

/** One thing that keeps a schema and a message type from fitting. */
export interface Misfit {
  /** Field names from the top, with dots; `[]` is an element, `{}` a value of a map. Empty: the whole. */
  readonly path: string;
  readonly found: string;
  readonly expected: string;
}

/** One line for a report: where, what was found, what would fit. */
export function misfitLine({ path, found, expected }: Misfit): string {
  return `${path === '' ? 'the message' : path}: ${found}; expected ${expected}`;
}
