import { isUtf8 } from 'node:buffer';
import { type DescMessage, fromBinary, fromJson, type JsonValue, toBinary, toJson } from '@bufbuild/protobuf';
import { Ajv, type ValidateFunction } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { exactIntegers } from '../codec/exact-integers.ts';
import type { ReadPlan, WritePlan } from './formats.ts';
import { FRAME_BYTES, frame, framed } from './frame.ts';
import { type Json, jsonShape, jsonText, type Resolve } from './json-shape.ts';
import { typeNamed } from './names.ts';
import type { LoadedSchema, Misfit } from './schema.ts';
import { UnfitValue } from './values.ts';

type Members = Record<string, Json>;

/** One alternative of a schema: what a message type is. */
interface Branch {
  /** Its title; empty: none. */
  readonly name: string;
  readonly schema: Members;
  readonly check: (value: unknown) => string | undefined;
}

interface Parsed {
  /** One, or those of the `oneOf` at the top where each has a title. */
  readonly branches: readonly Branch[];
  readonly resolve: Resolve;
}

const LATER_DRAFTS = /2019-09|2020-12/;

function parse({ text, imports }: LoadedSchema): Parsed {
  const root = JSON.parse(text) as Members;
  const documents = new Map<string, Members>();
  for (const { name, text: other } of imports) {
    const schema = JSON.parse(other) as Members;
    for (const key of new Set([name, absolute(name, root.$id), String(schema.$id ?? name)])) documents.set(key, schema);
  }
  const createValidator = (): Ajv => {
    const options = { strict: false, validateFormats: false, logger: false } as const;
    const ajv = LATER_DRAFTS.test(String(root.$schema ?? '')) ? new Ajv2020(options) : new Ajv(options);
    for (const schema of new Set(documents.values())) {
      // By its own $id it is known without being told.
      const keys = [...documents].filter(([key, of]) => of === schema && key !== schema.$id);
      if (keys.length === 0) ajv.addSchema(schema);
      for (const [key] of keys) ajv.addSchema(schema, key);
    }
    return ajv;
  };
  const anchored = new Map([...documents].map(([key, schema]) => [key, anchor(schema, key, schema.$id) as Members]));
  const resolve: Resolve = (reference) => {
    const [document = '', pointer = ''] = reference.split('#', 2);
    let found: Json | undefined = document === '' ? root : anchored.get(document);
    for (const step of pointer.split('/').filter((part) => part !== '')) {
      const name = decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~');
      found = typeof found === 'object' && found !== null ? (found as Members)[name] : undefined;
    }
    return found;
  };
  const alternatives = root.oneOf as Members[] | undefined;
  const isUnion = Array.isArray(alternatives) && alternatives.every((one) => titleOf(one, resolve) !== '');
  const { oneOf: _, title: __, ...shared } = root;
  // Each has the document's definitions, and is resolved against its name.
  const schemas = isUnion ? alternatives.map((one) => ({ ...shared, ...one })) : [root];
  return {
    resolve,
    branches: schemas.map((schema) => {
      const validate = createValidator().compile(schema);
      return { name: titleOf(schema, resolve), schema, check: (value) => failureOf(validate, value) };
    }),
  };
}

/** Its own, or the one of what it is a reference to; empty: none. */
function titleOf({ title, $ref }: Members, resolve: Resolve): string {
  if (typeof title === 'string') return title;
  const referred = typeof $ref === 'string' ? resolve($ref) : undefined;
  return typeof referred === 'object' && referred !== null ? String((referred as Members).title ?? '') : '';
}

/** A reference as it is meant in a document with that `$id`. */
function absolute(reference: string, base: Json | undefined): string {
  return typeof base === 'string' && URL.canParse(reference, base) ? new URL(reference, base).href : reference;
}

/** The same document, with references that mean the same in any other one. `key`: by which it is found there. */
function anchor(schema: Json, key: string, base: Json | undefined): Json {
  if (Array.isArray(schema)) return schema.map((one) => anchor(one, key, base));
  if (typeof schema !== 'object' || schema === null) return schema;
  return Object.fromEntries(
    Object.entries(schema).map(([name, value]) => {
      if (name !== '$ref' || typeof value !== 'string') return [name, anchor(value, key, base)];
      return [name, value.startsWith('#') ? `${key}${value}` : absolute(value, base)];
    }),
  );
}

function failureOf(validate: ValidateFunction, value: unknown): string | undefined {
  if (validate(value) === true) return undefined;
  const [first] = validate.errors ?? [];
  const where = first?.instancePath === '' || first === undefined ? 'it' : first.instancePath;
  return `${where} ${first?.message ?? 'is not valid'}`;
}

/** See `ReadPlan`. Throws for text that is no JSON Schema. */
export function planJsonReading(
  loaded: LoadedSchema,
  types: readonly DescMessage[],
  only: DescMessage | undefined,
): ReadPlan {
  const misfits: Misfit[] = [];
  const { branches, resolve } = parse(loaded);
  const ways = branches.map((branch) => {
    const desc = typeNamed(branch.name, types) ?? (branches.length === 1 ? only : undefined);
    return { branch, desc, convert: desc && jsonShape(branch.schema, desc, resolve, misfits, false).read };
  });
  return {
    misfits,
    read(value) {
      const bytes = value.subarray(FRAME_BYTES);
      if (!isUtf8(bytes)) throw new UnfitValue('it is not valid UTF-8');
      const text = bytes.toString('utf8');
      const parsed: unknown = JSON.parse(text);
      const failures = ways.map(({ branch }) => branch.check(parsed));
      const way = ways[failures.indexOf(undefined)];
      if (way === undefined) throw new UnfitValue(failures.join('; or '));
      const { desc, convert } = way;
      if (desc === undefined || convert === undefined) return { typeName: way.branch.name, value: undefined };
      const exact = exactIntegers(
        text,
        desc,
        (integer) => new UnfitValue(`it has the integer ${integer}, which JSON numbers do not hold exactly`),
      );
      const message = fromJson(desc, convert(JSON.parse(exact) as Json) as JsonValue, { ignoreUnknownFields: true });
      return { typeName: desc.typeName, value: toBinary(desc, message) };
    },
  };
}

/** See `WritePlan`. Throws for text that is no JSON Schema. */
export function planJsonWriting(loaded: LoadedSchema, types: readonly DescMessage[]): WritePlan {
  const misfits: Misfit[] = [];
  const { branches, resolve } = parse(loaded);
  const head = frame(loaded.id);
  const ways = new Map<string, (value: Uint8Array) => Uint8Array>();
  for (const desc of types) {
    const named = branches.find(({ name }) => typeNamed(name, types) === desc);
    const branch = named ?? (branches.length === 1 && types.length === 1 ? branches[0] : undefined);
    if (branch === undefined) {
      misfits.push({
        path: '',
        found: `the titles ${branches.map(({ name }) => name || 'none').join(', ')}`,
        expected: `one for ${desc.typeName}`,
      });
      continue;
    }
    const { write } = jsonShape(branch.schema, desc, resolve, misfits, true);
    ways.set(desc.typeName, (value) => {
      const text = jsonText(write(toJson(desc, fromBinary(desc, value), { alwaysEmitImplicit: true }) as Json));
      const failure = branch.check(JSON.parse(text));
      if (failure !== undefined) throw new UnfitValue(failure);
      return framed(head, Buffer.from(text));
    });
  }
  return { misfits, ways };
}
