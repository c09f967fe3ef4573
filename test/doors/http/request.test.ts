import type { JsonValue } from '@bufbuild/protobuf';
import { beforeAll, describe, expect, it } from 'vitest';
import { HttpFailure } from '../../../src/doors/http/http-failure.ts';
import { readHttpRules } from '../../../src/doors/http/http-rules.ts';
import { createRequestReader } from '../../../src/doors/http/request.ts';
import { createRouter, type Router } from '../../../src/doors/http/router.ts';
import type { Services } from '../../../src/doors/services.ts';
import { jsonOf, library } from './door.ts';

let services: Services;
let router: Router;
beforeAll(() => {
  services = library();
  router = createRouter(readHttpRules(services).rules).router;
});

interface Given {
  readonly contentType?: string | undefined;
  readonly maxJsonDepth?: number;
}

function bytesFor(verb: string, url: string, body: string | Uint8Array = '', given: Given = {}) {
  const [path = '', query = ''] = url.split('?');
  const match = router.match(verb, path);
  const reader = createRequestReader({
    match,
    query,
    descriptors: services.descriptors,
    maxJsonDepth: given.maxJsonDepth ?? 100,
  });
  const contentType = 'contentType' in given ? given.contentType : 'application/json';
  return { type: match.rule.method.inputType, bytes: reader.message({ contentType, bytes: Buffer.from(body) }) };
}
function message(verb: string, url: string, body?: string | Uint8Array, given?: Given): JsonValue {
  const { type, bytes } = bytesFor(verb, url, body, given);
  return jsonOf(services.descriptors, type, bytes);
}
function refused(verb: string, url: string, body?: string | Uint8Array, given?: Given): string {
  try {
    message(verb, url, body, given);
  } catch (error) {
    if (error instanceof HttpFailure && error.httpStatus === 400) return error.message;
    throw error;
  }
  throw new Error('it was taken');
}
const search = (query: string) => message('GET', `/v1/search?${query}`);
const searchRefused = (query: string) => refused('GET', `/v1/search?${query}`);
const create = (body: string | Uint8Array, given?: Given) => message('POST', '/v1/shelves/1/books', body, given);
const createRefused = (body: string | Uint8Array, given?: Given) => refused('POST', '/v1/shelves/1/books', body, given);

describe('the variables of a path', () => {
  it('become the type of their field', () => {
    expect(message('GET', '/v1/editions/-7/Ada%20L')).toEqual({ edition: -7, author: { name: 'Ada L' } });
    expect(message('GET', '/v1/binding/HARD/true/9223372036854775807')).toEqual({
      binding: 'HARD',
      lent: true,
      copies: '9223372036854775807',
    });
    expect(message('GET', '/v1/binding/1/false/-9223372036854775808')).toEqual({
      binding: 'PAPER',
      copies: '-9223372036854775808',
    });
  });

  it('that are not of that type are refused with field, found and expected', () => {
    expect(refused('GET', '/v1/editions/2147483648/x')).toBe(
      'edition in the path: "2147483648" is not a whole number from -2147483648 to 2147483647.',
    );
    for (const text of ['1.0', '1e3', ' 1', '0x1', '--1', '+1', '９', 'NaN']) {
      expect(refused('GET', `/v1/editions/${encodeURIComponent(text)}/x`)).toContain(`"${text}" is not a whole number`);
    }
    expect(refused('GET', `/v1/editions/${'9'.repeat(5_000)}/x`)).toContain('is not a whole number');
    expect(refused('GET', '/v1/binding/SOFT/true/1')).toBe(
      'binding in the path: "SOFT" is not one of UNBOUND, PAPER, HARD.',
    );
    expect(refused('GET', '/v1/binding/HARD/yes/1')).toBe('lent in the path: "yes" is neither true nor false.');
    expect(refused('GET', '/v1/binding/HARD/true/9223372036854775808')).toContain('copies in the path');
  });

  it('go over what the body says', () => {
    expect(create('{"name":"other","edition":2}')).toEqual({ name: 'shelves/1', edition: 2 });
  });
});

describe('the query', () => {
  it('sets every kind of field that is one text, by either name, nested by dots', () => {
    expect(
      search(
        'name=a+b%2B&long_title=L&copies=5&sold=18446744073709551615&edition=1&lent=true&price=1.5e3&weight=-Infinity' +
          '&cover=_-8&binding=HARD&author.name=Ada&author.born=1815&printed=2020-01-02T03:04:05Z&loan=1.5s' +
          '&mask=name,longTitle&subtitle=sub&stock=7&person=p&rating=0&sequel.sequel.author.born=3&shelf=4294967295' +
          '&seal=AQI&open=false',
      ),
    ).toEqual({
      name: 'a b+',
      longTitle: 'L',
      copies: '5',
      sold: '18446744073709551615',
      edition: 1,
      lent: true,
      price: 1500,
      weight: '-Infinity',
      cover: '/+8=',
      binding: 'HARD',
      author: { name: 'Ada', born: 1815 },
      printed: '2020-01-02T03:04:05Z',
      loan: '1.500s',
      mask: 'name,longTitle',
      subtitle: 'sub',
      stock: '7',
      person: 'p',
      rating: 0,
      sequel: { sequel: { author: { born: 3 } } },
      shelf: 4294967295,
      seal: 'AQI=',
      open: false,
    });
    expect(search('longTitle=json')).toEqual({ longTitle: 'json' });
    expect(search('name')).toEqual({});
    expect(search('&&name=x&')).toEqual({ name: 'x' });
  });

  it('takes a parameter for each element of a repeated field, in order', () => {
    expect(search('tags=b&pages=2&tags=a&pages=1&tags=&bindings=PAPER&bindings=2')).toEqual({
      tags: ['b', 'a', ''],
      pages: [2, 1],
      bindings: ['PAPER', 'HARD'],
    });
  });

  it('is refused by the name of the parameter that is no field', () => {
    expect(searchRefused('nam=x')).toBe('The query parameter "nam" is not taken: library.Book has no field nam.');
    expect(searchRefused('author.nam=x')).toContain('"author.nam" is not taken: library.Author has no field nam');
    for (const name of ['__proto__', 'constructor', 'author.__proto__', '__proto__.name', '', '.', 'author.']) {
      expect(searchRefused(`${name}=x`)).toContain('has no field');
    }
    expect(searchRefused('name.length=1')).toContain('name has no fields');
  });

  it('is refused where the value does not fit the field', () => {
    expect(searchRefused('edition=x')).toBe(
      'edition in the query: "x" is not a whole number from -2147483648 to 2147483647.',
    );
    expect(searchRefused('shelf=-1')).toContain('from 0 to 4294967295');
    expect(searchRefused('weight=1e39')).toContain('that a float can hold');
    expect(searchRefused('price=1e999')).toContain('that a double can hold');
    expect(searchRefused('price=0x10')).toContain('is not a number');
    expect(searchRefused('price=')).toContain('is not a number');
    expect(searchRefused('cover=a')).toContain('is not base64');
    expect(searchRefused('cover=*')).toContain('is not base64');
    expect(searchRefused('printed=yesterday')).toContain('is not the JSON of a google.protobuf.Timestamp');
    expect(searchRefused('loan=5')).toContain('is not the JSON of a google.protobuf.Duration');
    expect(searchRefused('stock=five')).toContain('stock in the query: "five" is not a whole number');
    expect(searchRefused('open=1')).toContain('neither true nor false');
    expect(searchRefused('name=a&name=b')).toBe('name in the query: it is there 2 times, and takes one value.');
    expect(searchRefused('name=a&longTitle=b&long_title=c')).toContain('long_title in the query: it is there 2 times');
    expect(searchRefused('person=a&school=b')).toContain('only one of the fields of owner can be');
  });

  it('does not reach into maps, lists of messages and messages as a whole', () => {
    expect(searchRefused('counts=1')).toContain('counts is a map');
    expect(searchRefused('counts.a=1')).toContain('counts is a map');
    expect(searchRefused('author=Ada')).toContain('author is a message');
    expect(searchRefused('editors=Ada')).toContain('editors is a message');
    expect(searchRefused('editors.name=Ada')).toContain('editors is repeated');
    expect(searchRefused('extra=x')).toContain('extra is a message');
    expect(searchRefused('extra.typeUrl=x')).toContain('extra has no fields');
    expect(searchRefused('printed.seconds=1')).toContain('printed has no fields');
    expect(searchRefused('stock.value=1')).toContain('stock has no fields');
  });

  it('does not set what path or body set', () => {
    expect(refused('GET', '/v1/books/x?name=y')).toContain('"name" is not taken: it is in the path');
    expect(refused('PATCH', '/v1/books/x/author?author.name=y')).toContain('author is the body');
    expect(refused('POST', '/v1/shelves/1/books?edition=2', '{}')).toContain('the body holds all of the library.Book');
  });

  it('with broken percent-encoding is refused', () => {
    for (const query of ['name=%', 'name=%zz', 'name=%ff', '%=x', 'name=%ed%a0%80']) {
      expect(searchRefused(query)).toContain('not validly percent-encoded');
    }
  });
});

describe('the body', () => {
  it('is the whole message, a message field, or a repeated field, as the rule says', () => {
    expect(create('{"longTitle":"t","tags":["a"],"author":{"name":"Ada"},"counts":{"x":1}}')).toEqual({
      name: 'shelves/1',
      longTitle: 't',
      tags: ['a'],
      author: { name: 'Ada' },
      counts: { x: '1' },
    });
    expect(message('PATCH', '/v1/books/x/author?edition=3', '{"born":1815}')).toEqual({
      name: 'x',
      edition: 3,
      author: { born: 1815 },
    });
    expect(message('PUT', '/v1/books/x/tags', '["a","b"]')).toEqual({ name: 'x', tags: ['a', 'b'] });
    expect(message('PUT', '/v1/books/x/tags', 'null')).toEqual({ name: 'x' });
  });

  it('is left out where it is empty or the rule has no place for it', () => {
    expect(create('', { contentType: undefined })).toEqual({ name: 'shelves/1' });
    expect(message('DELETE', '/v1/books/x', 'not json', { contentType: 'text/plain' })).toEqual({ name: 'x' });
  });

  it('may not smuggle other fields past its own', () => {
    expect(refused('PUT', '/v1/books/x/tags', '[],"edition":5')).toContain('is not JSON');
    expect(refused('PUT', '/v1/books/x/tags', '[]}, {"a":1')).toContain('is not JSON');
  });

  it('keeps every integer to its last digit, in quotes or not', () => {
    const count = (body: string) => message('POST', '/v1/numbers', body);
    const countRefused = (body: string) => refused('POST', '/v1/numbers', body);
    expect(count('{"copies":9007199254740993,"sold":18446744073709551615}')).toMatchObject({
      copies: '9007199254740993',
      sold: '18446744073709551615',
    });
    expect(count('{"copies":"9007199254740993","price":9007199254740993}')).toMatchObject({
      copies: '9007199254740993',
      price: 9007199254740992,
    });
    expect(count('{"copies":-9007199254740993,"title":"9007199254740993 \\" 9007199254740993"}')).toMatchObject({
      copies: '-9007199254740993',
      title: '9007199254740993 " 9007199254740993',
    });
    expect(countRefused('{"copies":9223372036854775808}')).toContain('library.Numbers.copies');
    expect(countRefused('{"copies":1.5}')).toContain('library.Numbers.copies');
  });

  it('with an integer that would be rounded is refused where the type may hold any JSON', () => {
    expect(refused('POST', '/v1/free', '{"any":{"a":9007199254740993}}')).toContain('write it in quotes');
    expect(message('POST', '/v1/free', '{"any":{"a":1.5,"b":[null]},"count":"9007199254740993"}')).toEqual({
      any: { a: 1.5, b: [null] },
      count: '9007199254740993',
    });
  });

  it('is refused with a field or an enum value that the type does not have', () => {
    expect(createRefused('{"nope":1}')).toContain('key "nope" is unknown');
    expect(createRefused('{"author":{"nope":1}}')).toContain('key "nope" is unknown');
    expect(createRefused('{"__proto__":{"edition":1}}')).toContain('key "__proto__" is unknown');
    expect(createRefused('{"constructor":1}')).toContain('key "constructor" is unknown');
    expect(createRefused('{"binding":"SOFT"}')).toContain('"SOFT"');
  });

  it('is refused where it is not strict JSON', () => {
    for (const body of [
      '{',
      '{"name":}',
      "{'name':'x'}",
      '{"name":"x",}',
      '\ufeff{}',
      '{} {}',
      'undefined',
      '{"a":01}',
      '"',
    ]) {
      expect(createRefused(body)).toContain('is not JSON');
    }
    expect(createRefused('[]')).toContain('is not the JSON of a library.Book');
    expect(createRefused('null')).toContain('is not the JSON of a library.Book');
    expect(createRefused('{"edition":1,"edition":2}')).toContain('is not the JSON of a library.Book');
    expect(createRefused('{"longTitle":"a","long_title":"b"}')).toContain('set multiple times');
    expect(createRefused('{"person":"a","school":"b"}')).toContain('oneof set multiple times');
    expect(createRefused('{"longTitle":"\\ud800"}')).not.toBe('');
    expect(createRefused(Buffer.from([0x7b, 0xff, 0x7d]))).toContain('is not UTF-8');
  });

  it('is refused where it nests deeper than the limit, also in lists, and not by what strings hold', () => {
    const nested = (levels: number) => `${'{"next":'.repeat(levels)}{}${'}'.repeat(levels)}`;
    const deep = (body: string, maxJsonDepth: number) =>
      message('POST', '/library.Library/Deep', body, { maxJsonDepth });
    expect(deep(nested(9), 10)).toBeDefined();
    expect(() => deep(nested(10), 10)).toThrow('nests deeper than the 10 levels');
    expect(() => deep(nested(1_000_000), 100)).toThrow('nests deeper than the 100 levels');
    expect(() => message('POST', '/v1/free', '['.repeat(500_000))).toThrow('nests deeper');
    expect(create(`{"longTitle":${JSON.stringify('[{"'.repeat(500))}}`)).toMatchObject({ name: 'shelves/1' });
  });

  it('with a map key that every object has keeps it', () => {
    expect(create('{"counts":{"__proto__":"1","constructor":"2"}}')).toEqual({
      name: 'shelves/1',
      counts: JSON.parse('{"__proto__":"1","constructor":"2"}'),
    });
    expect(({} as Record<string, unknown>).edition).toBeUndefined();
  });

  it('has a content type of JSON in UTF-8', () => {
    for (const contentType of ['application/json; charset=UTF-8', 'Application/JSON', 'application/vnd.x+json']) {
      expect(create('{}', { contentType })).toEqual({ name: 'shelves/1' });
    }
    for (const contentType of [
      undefined,
      'text/plain',
      'application/x-www-form-urlencoded',
      'application/json;charset=latin1',
    ]) {
      expect(createRefused('{}', { contentType })).toContain('send application/json, in UTF-8');
    }
  });

  it('with an Any is read by the types of the function', () => {
    const extra = { '@type': 'type.googleapis.com/library.Author', name: 'Ada' };
    expect(create(JSON.stringify({ extra }))).toMatchObject({ extra });
    expect(createRefused('{"extra":{"@type":"type.googleapis.com/no.Type"}}')).toContain('no.Type');
  });

  it('goes as it is into a google.api.HttpBody, with its content type', () => {
    const png = Buffer.from([0, 255, 1]);
    expect(message('POST', '/v1/blobs', png, { contentType: 'image/png' })).toEqual({
      contentType: 'image/png',
      data: png.toString('base64'),
    });
    expect(message('POST', '/v1/uploads/u?note=n', png, { contentType: 'image/png' })).toEqual({
      name: 'u',
      note: 'n',
      file: { contentType: 'image/png', data: png.toString('base64') },
    });
    expect(message('POST', '/v1/blobs', '', { contentType: undefined })).toEqual({});
  });
});
