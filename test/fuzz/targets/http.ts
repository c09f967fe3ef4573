import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { readHttpRules } from '../../../src/doors/http/http-rules.ts';
import { createRequestReader } from '../../../src/doors/http/request.ts';
import { createReplyWriter } from '../../../src/doors/http/response.ts';
import { createRouter } from '../../../src/doors/http/router.ts';
import { library } from '../../doors/http/door.ts';
import { Broken, Cursor, type FuzzTarget, joined, orRefused } from '../target.ts';
import { isRefusedRequest } from './refusals.ts';

const VERBS = ['GET', 'POST', 'PATCH', 'PUT', 'DELETE', 'OPTIONS'];
const TYPES = ['application/json', 'application/json; charset=utf-8', 'text/plain', ''];

/** HTTP/JSON requests: path, query and body make the method's input message, which can be written as an answer; or an HTTP failure. */
export function http(): FuzzTarget {
  const services = library();
  const { rules } = readHttpRules(services);
  const { router } = createRouter(rules);
  const book =
    '{"name":"n","longTitle":"x","copies":"12","edition":3,"price":1e3,"cover":"AAEC","binding":"HARD","tags":["a"],"author":{"name":"b","born":1},"counts":{"a":"1"},"printed":"2020-01-02T03:04:05Z"}';
  return {
    seeds: [
      joined(1, ['/v1/shelves/1/books'], [''], 0, book),
      joined(0, ['/v1/books/x'], ['edition=3&tags=a&tags=b&author.name=c&printed=2020-01-02T03:04:05Z'], 0, ''),
      joined(1, ['/library.Library/GetBook'], [''], 0, book),
      joined(0, ['/v1/search'], ['binding=HARD&lent=true&price=NaN&cover=AAE'], 0, ''),
      joined(1, ['/v1/blobs'], [''], 2, 'bytes'),
      ...rules.flatMap(({ template }, at) => [joined(at % 5, [template.text.replaceAll(/[{}=]/g, '')], [''], 0, '{}')]),
    ],
    words: [
      '/',
      '/v1/',
      'books',
      'shelves',
      'files',
      'search',
      ':cancel',
      '%2F',
      '%',
      '%ff',
      '%00',
      '&',
      '=',
      '+',
      '.',
      'author.name',
      '__proto__',
      '"name"',
      '"copies"',
      '"counts"',
      '"extra"',
      '"@type"',
      '"type.googleapis.com/library.Author"',
      'null',
      '1e400',
      '9007199254740993',
      '"\\ud800"',
      '\xef\xbb\xbf',
      '{',
      '}',
      '[',
      ']',
      ':',
      ',',
      '"',
      '\\u0000',
      '-0',
      '1.0',
      '"stock"',
      '"paths"',
      '"NaN"',
    ],
    run(input) {
      const cursor = new Cursor(input);
      const verb = cursor.pick(VERBS);
      const path = cursor.part().toString('latin1');
      const query = cursor.part().toString('latin1');
      const contentType = cursor.pick(TYPES);
      const match = orRefused(() => router.match(verb, path), isRefusedRequest);
      orRefused(() => router.verbs(path), isRefusedRequest);
      if (match === undefined) return;
      const type = match.rule.descriptor.input;
      const message = orRefused(
        () =>
          createRequestReader({ match, query, descriptors: services.descriptors, maxJsonDepth: 50 }).message({
            contentType: contentType === '' ? undefined : contentType,
            bytes: cursor.rest(),
          }),
        isRefusedRequest,
      );
      if (message === undefined) return;
      const read = fromBinary(type, message);
      if (toBinary(type, read).length > message.length)
        throw new Broken('the input message grows when it is written again');
      const answering = rules.find(
        ({ descriptor, responseBody }) => descriptor.output === type && responseBody === undefined,
      );
      if (answering !== undefined) createReplyWriter(answering, services.descriptors).render(message);
    },
  };
}
