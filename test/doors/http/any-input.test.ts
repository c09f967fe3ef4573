import { once } from 'node:events';
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import type { JsonObject } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { createRandom, type Random } from '../../support/random.ts';
import { bytesOf, jsonOf, library, startDoor } from './door.ts';

const PIECES = [
  ...[
    '/',
    'v1',
    'books',
    'popular',
    'shelves',
    'files',
    'search',
    'editions',
    'binding',
    'HARD',
    'true',
    '1',
    '%2F',
    '%',
  ],
  ...[
    '%00',
    '%ff',
    '%C3%A9',
    ':cancel',
    ':',
    '?',
    '&',
    '=',
    '+',
    'edition',
    'author.name',
    'tags',
    '.',
    '__proto__',
    '*',
  ],
  ...[
    'library.Library',
    'library.Streams',
    'GetBook',
    'Talk',
    'Load',
    '"',
    "'",
    '<',
    '{',
    '}',
    '~',
    'copies',
    '9'.repeat(30),
  ],
];
const PATHS = [
  'v1/shelves/1/books',
  'v1/books/x',
  'v1/search',
  'library.Library/Reads',
  'library.Streams/Talk',
  'v1/blobs',
];
const BODY_PIECES = [
  ...[
    '{',
    '}',
    '[',
    ']',
    ':',
    ',',
    '"',
    '"name"',
    '"copies"',
    '"author"',
    '"counts"',
    '"extra"',
    '"@type"',
    'null',
    'true',
  ],
  ...[
    '1',
    '-1e400',
    '9007199254740993',
    '"\\ud800"',
    '"__proto__"',
    '{}',
    '{"edition":1}',
    '\n',
    ' ',
    '\\',
    '\u0000',
    'é',
  ],
];
const TYPES = [
  ...[
    'application/json',
    'application/json',
    'application/x-ndjson',
    'application/grpc-web',
    'application/grpc-web-text',
  ],
  ...['text/plain', 'application/json; charset=x', ';', 'a'],
];

const some = (random: Random, pieces: readonly string[], most: number): string =>
  Array.from({ length: random.int(most) }, () => random.pick(pieces)).join('');

it('whatever comes is answered, without a fault of the runtime', async (t) => {
  const random = createRandom(20);
  const door = await startDoor(t, { services: library(), maxMessageBytes: 200 });
  const agent = new Agent({ keepAlive: true });
  const statuses = new Map<number | undefined, number>();
  for (let round = 0; round < 1_500; round += 1) {
    const request = httpRequest({
      agent,
      port: door.port,
      host: '127.0.0.1',
      method: random.pick(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PURGE']),
      path: `/${random.int(2) === 0 ? random.pick(PATHS) : ''}${some(random, PIECES, random.pick([1, 3, 12]))}`,
      headers: {
        'content-type': random.pick(TYPES),
        accept: random.pick(['*/*', 'text/event-stream', ',,;']),
        ...(random.int(20) === 0 ? { 'x-server-timeout': random.pick(['1', 'x', '']) } : {}),
        ...(random.int(20) === 0 ? { 'x-bin': some(random, PIECES, 3) } : {}),
      },
    });
    request.end(random.int(3) === 0 ? random.bytes(random.int(300)) : some(random, BODY_PIECES, 20));
    try {
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      statuses.set(response.statusCode, (statuses.get(response.statusCode) ?? 0) + 1);
      for await (const _chunk of response);
    } catch (error) {
      // A streamed answer that fails late is broken off.
      expect((error as NodeJS.ErrnoException).code).toBe('ECONNRESET');
    }
  }
  agent.destroy();
  expect(door.faults).toEqual([]);
  expect([...statuses.keys()].filter((code) => code === undefined || code >= 500)).toEqual([]);
  expect([...statuses.keys()]).toEqual(expect.arrayContaining([200, 400, 404, 405, 413]));
});

it('what is sent as JSON reaches the function as it is, and comes back the same', async (t) => {
  const random = createRandom(21);
  const services = library();
  const door = await startDoor(t, { services });
  for (let round = 0; round < 200; round += 1) {
    const book: JsonObject = { name: 'shelves/1' };
    const maybe = (name: string, value: () => JsonObject[string]): void => {
      if (random.int(2) === 0) book[name] = value();
    };
    maybe('longTitle', () => random.text(20));
    maybe('copies', () => String(BigInt.asIntN(64, random.bytes(8).readBigInt64LE())));
    maybe('sold', () => String(random.bytes(8).readBigUInt64LE()));
    maybe('edition', () => random.bytes(4).readInt32LE());
    maybe('lent', () => true);
    maybe('price', () => random.pick<number | string>([1e300, -0.1, 5e-324, 'NaN', '-Infinity']));
    maybe('cover', () => random.bytes(random.int(10)).toString('base64'));
    maybe('binding', () => random.pick(['PAPER', 'HARD']));
    maybe('tags', () => [random.text(5), random.text(5)]);
    maybe('counts', () =>
      Object.fromEntries([
        [random.text(5), '1'],
        ['__proto__', '2'],
      ]),
    );
    maybe('printed', () => '2020-01-02T03:04:05.000000006Z');
    maybe('stock', () => '9223372036854775807');
    maybe('rating', () => 0);
    maybe('extra', () => ({ '@type': 'type.googleapis.com/library.Author', name: random.text(5) }));
    maybe(random.pick(['person', 'school']), () => random.text(3));
    const expected = bytesOf(services.descriptors, 'library.Book', book);
    const answer = await door.send('POST', '/v1/shelves/1/books', JSON.stringify(book));
    expect(answer.status).toBe(200);
    const back = bytesOf(services.descriptors, 'library.Book', (await answer.json()) as JsonObject);
    expect(Buffer.from(back)).toEqual(Buffer.from(expected));
    expect(door.seen.at(-1)?.inputs[0]).toEqual(jsonOf(services.descriptors, 'library.Book', expected));
  }
});
