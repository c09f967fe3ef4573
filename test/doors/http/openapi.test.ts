import { Validator } from '@seriousme/openapi-schema-validator';
import { beforeAll, describe, expect, it } from 'vitest';
import { readHttpRules } from '../../../src/doors/http/http-rules.ts';
import { openApiDocument } from '../../../src/doors/http/openapi.ts';
import { library } from './door.ts';

interface Operation {
  readonly operationId: string;
  readonly deprecated?: boolean;
  readonly description?: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly schema: object }[];
  readonly requestBody?: { readonly content: object };
  readonly responses: Readonly<Record<string, { readonly content: object }>>;
}
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, { description?: string; properties?: Record<string, object> }>>;
  };
}

let document: Document;
beforeAll(() => {
  document = openApiDocument(readHttpRules(library()).rules) as unknown as Document;
});
const operation = (verb: string, path: string): Operation => {
  const found = document.paths[path]?.[verb];
  if (found === undefined) throw new Error(`there is no ${verb} ${path} in ${Object.keys(document.paths).join(' ')}`);
  return found;
};
const parameters = (verb: string, path: string, where: string) =>
  operation(verb, path)
    .parameters?.filter((parameter) => parameter.in === where)
    .map(({ name }) => name);

describe('the OpenAPI document', () => {
  it('is valid by the schema of OpenAPI 3.1, and all its references lead somewhere', async () => {
    const { valid, errors } = await new Validator().validate(
      JSON.parse(JSON.stringify(document)) as Record<string, unknown>,
    );
    expect({ valid, errors: JSON.stringify(errors ?? '').slice(0, 500) }).toEqual({ valid: true, errors: '""' });
    const references = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/([^"]+)"/g)].map(
      ([, name]) => name,
    );
    expect(references.filter((name) => !Object.hasOwn(document.components.schemas, name as string))).toEqual([]);
  });

  it('is the same for the same services, to the byte', () => {
    expect(JSON.stringify(openApiDocument(readHttpRules(library()).rules))).toBe(JSON.stringify(document));
  });

  it('has each operation under an id of its own, every method at its own path', () => {
    const ids = Object.values(document.paths).flatMap((item) =>
      Object.values(item).map(({ operationId }) => operationId),
    );
    expect(new Set(ids).size).toBe(ids.length);
    expect(operation('post', '/library.Library/Deep').operationId).toBe('library.Library.Deep');
  });

  it('has a parameter for each variable part of a path', () => {
    expect(parameters('get', '/v1/shelves/{name}/books/{name_2}', 'path')).toEqual(['name', 'name_2']);
    expect(parameters('get', '/v1/editions/{edition}/{author.name}', 'path')).toEqual(['edition', 'author.name']);
    expect(operation('get', '/v1/editions/{edition}/{author.name}').parameters?.[0]?.schema).toEqual({
      type: 'integer',
      format: 'int32',
    });
    expect(parameters('get', '/v1/files/{name}', 'path')).toEqual(['name']);
    expect(parameters('post', '/v1/books/{name}:cancel', 'path')).toEqual(['name']);
  });

  it('has a query parameter for each field that the query can set', () => {
    const names = parameters('get', '/v1/search', 'query');
    expect(names).toEqual(expect.arrayContaining(['name', 'longTitle', 'author.name', 'tags', 'printed', 'subtitle']));
    expect(names).not.toEqual(expect.arrayContaining(['counts']));
    expect(names?.some((name) => /^(?:sequel|editors|extra|printed\.)/.test(name))).toBe(false);
    expect(parameters('patch', '/v1/books/{name}/author', 'query')).not.toContain('name');
    expect(parameters('patch', '/v1/books/{name}/author', 'query')?.some((name) => name.startsWith('author'))).toBe(
      false,
    );
    expect(parameters('post', '/v1/books/{name}:cancel', 'query')).toEqual([]);
  });

  it('has bodies and answers as they go over HTTP', () => {
    const book = { $ref: '#/components/schemas/library.Book' };
    expect(operation('post', '/v1/books/{name}:cancel').requestBody?.content).toEqual({
      'application/json': { schema: book },
    });
    expect(operation('put', '/v1/books/{name}/tags').requestBody?.content).toEqual({
      'application/json': { schema: { type: 'array', items: { type: 'string' } } },
    });
    expect(operation('get', '/v1/pages/{id}').responses['200']?.content).toEqual({ '*/*': {} });
    expect(operation('get', '/v1/watch/{id}').responses['200']?.content).toEqual({
      'application/x-ndjson': { schema: book },
      'text/event-stream': { schema: book },
    });
    expect(operation('post', '/v1/load/{author.name}').requestBody?.content).toEqual({
      'application/x-ndjson': { schema: book },
    });
    expect(operation('get', '/v1/best/{id}').responses['200']?.content).toEqual({
      'application/json': { schema: book },
    });
  });

  it('has every kind of field as its JSON is', () => {
    const properties = document.components.schemas['library.Book']?.properties;
    expect(properties).toMatchObject({
      longTitle: { type: 'string' },
      copies: { type: 'string', format: 'int64' },
      sold: { type: 'string', format: 'uint64' },
      edition: { type: 'integer', format: 'int32' },
      lent: { type: 'boolean' },
      cover: { type: 'string', contentEncoding: 'base64' },
      binding: { $ref: '#/components/schemas/library.Binding' },
      tags: { type: 'array', items: { type: 'string' } },
      author: { $ref: '#/components/schemas/library.Author' },
      counts: { type: 'object', additionalProperties: { type: 'string', format: 'int64' } },
      printed: { type: 'string', format: 'date-time' },
      loan: { type: 'string' },
      subtitle: { oneOf: [{ type: 'string' }, { type: 'null' }] },
      sequel: { $ref: '#/components/schemas/library.Book' },
      extra: { type: 'object', required: ['@type'] },
    });
    expect(document.components.schemas['library.Binding']).toEqual({
      type: 'string',
      enum: ['UNBOUND', 'PAPER', 'HARD'],
      description: 'How a book is bound.',
    });
  });

  it('says what the comments of the .proto files say, which fields exclude each other, and what is deprecated', () => {
    const book = document.components.schemas['library.Book'];
    expect(book?.description).toBe(
      'A book of the library.\n\nIt has all the kinds of fields there are.\n\nAt most one of person, school is set.',
    );
    expect(book?.properties?.name).toEqual({ type: 'string', description: 'Where it stands.' });
    expect(operation('get', '/v1/shelves/{name}/books/{name_2}').description).toBe('Finds one book.');
    expect(operation('delete', '/v1/books/{name}').deprecated).toBe(true);
    expect(document).toMatchObject({
      tags: [
        { name: 'library.Library', description: 'Books, and the shelves that they are on.' },
        { name: 'library.Streams' },
      ],
    });
  });
});
