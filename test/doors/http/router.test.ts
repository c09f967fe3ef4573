import { beforeAll, describe, expect, it } from 'vitest';
import { HttpFailure } from '../../../src/doors/http/http-failure.ts';
import { readHttpRules } from '../../../src/doors/http/http-rules.ts';
import { createRouter, type Router } from '../../../src/doors/http/router.ts';
import { library } from './door.ts';

let router: Router;
beforeAll(() => {
  router = createRouter(readHttpRules(library()).rules).router;
});

const matched = (verb: string, path: string) => {
  const { rule, values } = router.match(verb, path);
  return [rule.method.name, ...values.map(({ variable, text }) => `${variable.path.join('.')}=${text}`)];
};
const refused = (verb: string, path: string) => {
  try {
    router.match(verb, path);
  } catch (error) {
    if (error instanceof HttpFailure) return { status: error.httpStatus, ...error.headers, message: error.message };
    throw error;
  }
  throw new Error('it was matched');
};

describe('a path', () => {
  it('goes to a literal before a variable, whatever the order of declaration', () => {
    expect(matched('GET', '/v1/books/popular')).toEqual(['Popular']);
    expect(matched('GET', '/v1/books/other')).toEqual(['Reads', 'name=other']);
  });

  it('goes to a variable where the literal does not have the verb', () => {
    expect(matched('DELETE', '/v1/books/popular')).toEqual(['DeleteBook', 'name=popular']);
  });

  it('takes back a literal that leads nowhere', () => {
    expect(matched('GET', '/v1/shelves/1/books/2')).toEqual(['GetBook', 'name=shelves/1/books/2']);
    expect(matched('POST', '/v1/shelves/1/books')).toEqual(['CreateBook', 'name=shelves/1']);
  });

  it('has its verb after the colon, and is a text with a colon where no rule has that verb', () => {
    expect(matched('POST', '/v1/books/x:cancel')).toEqual(['Cancel', 'name=x']);
    expect(matched('POST', '/v1/books/a:b:cancel')).toEqual(['Cancel', 'name=a:b']);
    expect(matched('GET', '/v1/books/x:cancel')).toEqual(['Reads', 'name=x:cancel']);
    expect(matched('GET', '/v1/books/x:other')).toEqual(['Reads', 'name=x:other']);
    expect(refused('POST', '/v1/books/x%3Acancel')).toMatchObject({ status: 405, allow: 'DELETE, GET, HEAD' });
  });

  it('gives ** all that is left, also nothing', () => {
    expect(matched('GET', '/v1/files/a/b/c')).toEqual(['Files', 'name=a/b/c']);
    expect(matched('GET', '/v1/files/')).toEqual(['Files', 'name=']);
    expect(matched('GET', '/v1/files')).toEqual(['Files', 'name=']);
    expect(matched('GET', '/v1/files/a//b')).toEqual(['Files', 'name=a//b']);
  });

  it('is decoded after it is split, and keeps an encoded slash where the value has slashes of its own', () => {
    expect(matched('GET', '/v1/books/a%2Fb%20%C3%A9+')).toEqual(['Reads', 'name=a/b é+']);
    expect(matched('GET', '/v1/files/a%2Fb/c%2fd%20e%252F')).toEqual(['Files', 'name=a%2Fb/c%2fd e%2F']);
    expect(matched('GET', '/v1/b%6Foks/popular')).toEqual(['Popular']);
  });

  it('has at least one character where * is', () => {
    expect(refused('GET', '/v1/books/')).toMatchObject({ status: 404 });
    expect(refused('GET', '/v1/books')).toMatchObject({ status: 404 });
  });

  it('that no rule has is 404, and with another verb 405 with those that it has', () => {
    expect(refused('GET', '/v2')).toEqual({ status: 404, message: 'No method of the function is at "/v2".' });
    expect(refused('GET', '/')).toMatchObject({ status: 404 });
    expect(refused('GET', '')).toMatchObject({ status: 404 });
    expect(refused('GET', '*')).toMatchObject({ status: 404 });
    expect(refused('PUT', '/v1/books/x')).toEqual({
      status: 405,
      allow: 'DELETE, GET, HEAD',
      message: '"/v1/books/x" is there for DELETE, GET, HEAD, not for "PUT".',
    });
    expect(refused('get', '/v1/books/x')).toMatchObject({ status: 405 });
    expect(refused('GET', '/library.Library/GetBook')).toMatchObject({ status: 405, allow: 'POST' });
  });

  it('with broken percent-encoding is 400', () => {
    for (const path of [
      '/v1/books/%',
      '/v1/books/%zz',
      '/v1/books/%ff',
      '/v1/%c3/x',
      '/v1/files/a/%2',
      '/v1/books/a:%',
    ]) {
      expect(refused('GET', path)).toMatchObject({ status: 400, message: expect.stringContaining('percent-encoded') });
    }
  });

  it('is found by names that every object has only where a rule has them', () => {
    for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
      expect(refused('GET', `/${name}`)).toMatchObject({ status: 404 });
      expect(refused(name, '/v1/search')).toMatchObject({ status: 405 });
      expect(matched('GET', `/v1/books/${name}`)).toEqual(['Reads', `name=${name}`]);
    }
  });

  it('with a custom kind goes by it, and * takes every verb', () => {
    expect(matched('HEAD', '/v1/books/x')).toEqual(['Check', 'name=x']);
    expect(matched('PURGE', '/v1/any/thing/x')).toEqual(['Anything', 'name=x']);
  });
});
