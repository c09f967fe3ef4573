import { once } from 'node:events';
import { status } from '@grpc/grpc-js';
import { beforeAll, describe, expect, it } from 'vitest';
import { CallFailure } from '../../../src/doors/calls.ts';
import type { Services } from '../../../src/doors/services.ts';
import { bytesOf, type Door, jsonOf, library, servicesOf, startDoor } from './door.ts';

let services: Services;
beforeAll(() => {
  services = library();
});

const frame = (content: Uint8Array, flags = 0): Buffer => {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(content.length, 1);
  return Buffer.concat([head, content]);
};
const book = (name: string) => Buffer.from(bytesOf(services.descriptors, 'library.Book', { name }));

function call(door: Door, method: string, body: Uint8Array | string, headers: Record<string, string> = {}) {
  return door.send('POST', `/${method}`, body, { 'content-type': 'application/grpc-web+proto', ...headers });
}

/** The messages of an answer as JSON, and its trailers. */
async function read(answer: Response, { type = 'library.Book', text = false } = {}) {
  expect(answer.status).toBe(200);
  const body = text
    ? Buffer.concat([...(await answer.text()).matchAll(/[^=]+=*/g)].map(([part]) => Buffer.from(part, 'base64')))
    : Buffer.from(await answer.arrayBuffer());
  const messages: unknown[] = [];
  let trailers: string[] | undefined;
  for (let at = 0; at < body.length; ) {
    const length = body.readUInt32BE(at + 1);
    const content = body.subarray(at + 5, at + 5 + length);
    expect(content).toHaveLength(length);
    // Nothing comes after the trailers.
    expect(trailers).toBeUndefined();
    if (body[at] === 0x80) trailers = content.toString('latin1').split('\r\n').slice(0, -1);
    else messages.push(jsonOf(services.descriptors, type, content));
    at += 5 + length;
  }
  return { messages, trailers };
}

describe('a gRPC-Web call', () => {
  it('of a unary method is a message and trailers with the metadata of the reply', async (t) => {
    const door = await startDoor(t, {
      services,
      script: {
        unary: ({ inputs }) => ({
          json: inputs[0] ?? null,
          metadata: [
            { key: 'X-A', value: '1' },
            { key: 'b-bin', value: new Uint8Array([1]) },
            { key: 'evil', value: 'a\r\ngrpc-status: 9' },
            { key: 'grpc-status', value: '9' },
          ],
        }),
      },
    });
    const answer = await call(door, 'library.Library/Reads', frame(book('x')), {
      'x-grpc-web': '1',
      'x-user-agent': 'grpc-web-javascript/0.1',
      'x-my': 'm',
      'raw-bin': 'AQI=',
    });
    expect(answer.headers.get('content-type')).toBe('application/grpc-web+proto');
    expect(await read(answer)).toEqual({
      messages: [{ name: 'x' }],
      trailers: ['grpc-status: 0', 'x-a: 1', 'b-bin: AQ=='],
    });
    const metadata = door.seen[0]?.call.metadata.filter(({ key }) => key !== 'sec-fetch-mode');
    expect(metadata).toEqual([
      { key: 'x-my', value: 'm' },
      { key: 'raw-bin', value: new Uint8Array([1, 2]) },
    ]);
  });

  it('in base64 is answered in base64, also where its parts have paddings of their own', async (t) => {
    const door = await startDoor(t, { services });
    const whole = frame(book('xy'));
    const parts = [whole.subarray(0, 4), whole.subarray(4)].map((part) => part.toString('base64')).join('');
    for (const body of [whole.toString('base64'), parts]) {
      const answer = await call(door, 'library.Library/Reads', body, { 'content-type': 'application/grpc-web-text' });
      expect(answer.headers.get('content-type')).toBe('application/grpc-web-text');
      expect(await read(answer, { text: true })).toEqual({ messages: [{ name: 'xy' }], trailers: ['grpc-status: 0'] });
    }
  });

  it('of a method that streams out has its messages one after the other', async (t) => {
    const door = await startDoor(t, {
      services,
      script: {
        async *streamed(_, input) {
          for await (const _shelf of input) {
            yield { json: { name: 'a' }, metadata: [{ key: 'first', value: '1' }] };
            yield { json: { name: 'b' }, metadata: [{ key: 'second', value: '2' }] };
          }
        },
      },
    });
    const answer = await call(door, 'library.Streams/Watch', frame(Buffer.alloc(0)));
    expect(await read(answer)).toEqual({
      messages: [{ name: 'a' }, { name: 'b' }],
      trailers: ['grpc-status: 0', 'first: 1'],
    });
  });

  it('that fails says so in its trailers, before and after messages, with the message percent-encoded', async (t) => {
    const door = await startDoor(t, {
      services,
      script: {
        unary: () => {
          throw new CallFailure(status.NOT_FOUND, 'kein Büch: 100%\r\n', { metadata: [{ key: 'why', value: 'x' }] });
        },
        async *streamed() {
          yield { json: { name: 'a' } };
          throw new CallFailure(status.ABORTED, 'later');
        },
      },
    });
    expect(await read(await call(door, 'library.Library/Reads', frame(book('x'))))).toEqual({
      messages: [],
      trailers: ['grpc-status: 5', 'grpc-message: kein B%C3%BCch: 100%25%0D%0A', 'why: x'],
    });
    expect(await read(await call(door, 'library.Streams/Watch', frame(book('x'))))).toEqual({
      messages: [{ name: 'a' }],
      trailers: ['grpc-status: 10', 'grpc-message: later'],
    });
  });

  it('ends at its grpc-timeout', async (t) => {
    const door = await startDoor(t, { services, script: { unary: () => new Promise(() => undefined) } });
    const answer = await call(door, 'library.Library/Reads', frame(book('x')), { 'grpc-timeout': '50m' });
    expect((await read(answer)).trailers?.[0]).toBe('grpc-status: 4');
    const wrong = await call(door, 'library.Library/Reads', frame(book('x')), { 'grpc-timeout': 'soon' });
    expect((await read(wrong)).trailers?.[0]).toBe('grpc-status: 3');
  });

  it('ends when its caller is gone', async (t) => {
    let called = (_: AbortSignal): void => undefined;
    const signal = new Promise<AbortSignal>((resolve) => {
      called = resolve;
    });
    const door = await startDoor(t, {
      services,
      script: {
        async *streamed({ call: { signal: given } }) {
          called(given);
          yield { json: { name: 'a' } };
          await new Promise(() => undefined);
        },
      },
    });
    const controller = new AbortController();
    const answer = await fetch(`${door.url}/library.Streams/Watch`, {
      method: 'POST',
      body: frame(Buffer.alloc(0)),
      headers: { 'content-type': 'application/grpc-web' },
      signal: controller.signal,
    });
    const ended = expect(answer.arrayBuffer()).rejects.toThrow();
    controller.abort();
    const given = await signal;
    if (!given.aborted) await once(given, 'abort');
    await ended;
    expect(given.reason).toMatchObject({ code: status.CANCELLED });
  });
});

describe('a gRPC-Web request that is refused', () => {
  it.for([
    ['has nothing in it', Buffer.alloc(0), 3, 'has 0 bytes'],
    ['is cut off in its head', Buffer.from([0, 0, 0]), 3, 'has 3 bytes'],
    ['is cut off in its message', frame(Buffer.from('abcdef')).subarray(0, 8), 3, 'only 3 of them came'],
    ['has two messages', Buffer.concat([frame(Buffer.alloc(0)), frame(Buffer.alloc(0))]), 3, 'after the message'],
    ['is compressed', frame(Buffer.alloc(0), 1), 12, 'compressed'],
    ['has trailers', frame(Buffer.alloc(0), 0x80), 3, 'flags 128'],
    ['announces more than the limit', Buffer.from([0, 0xff, 0xff, 0xff, 0xff]), 8, 'larger than the 1000 bytes'],
    ['is longer than the limit', frame(Buffer.alloc(2_000)), 8, 'larger than'],
    ['is no protobuf', frame(Buffer.from([0x0a, 0x7f])), 3, 'is not a library.Book'],
    ['has text that is not UTF-8', frame(Buffer.from([0x0a, 1, 0xff])), 3, 'not valid UTF-8'],
    ['has a field of another wire type', frame(Buffer.from([0x08, 1])), 3, 'wire type'],
  ] as const)('because it %s says so in its trailers', async ([, body, code, reason], t) => {
    const door = await startDoor(t, { services, maxMessageBytes: 1_000 });
    const { messages, trailers } = await read(await call(door, 'library.Library/Reads', body));
    expect(messages).toEqual([]);
    expect(trailers).toEqual([`grpc-status: ${code}`, expect.stringContaining(reason)]);
    expect(door.seen).toEqual([]);
    expect(door.faults).toEqual([]);
  });

  it('because it is not base64 says so, in base64', async (t) => {
    const door = await startDoor(t, { services });
    for (const body of ['####', 'AAA', '=AAA', 'AAAA====', 'AA\nAA']) {
      const answer = await call(door, 'library.Library/Reads', body, { 'content-type': 'application/grpc-web-text' });
      const { trailers } = await read(answer, { text: true });
      expect(trailers?.[0]).toBe('grpc-status: 3');
    }
  });

  it('because there is no such method, or it streams in, is UNIMPLEMENTED', async (t) => {
    const door = await startDoor(t, { services });
    for (const method of [
      'library.Library/Nope',
      'library.Nope/Reads',
      'library.Library/Reads/more',
      'v1/search',
      '__proto__/constructor',
      'library.Streams/Load',
    ]) {
      expect((await read(await call(door, method, frame(Buffer.alloc(0))))).trailers?.[0]).toBe('grpc-status: 12');
    }
  });

  it('because the function is not known yet is UNAVAILABLE', async (t) => {
    const door = await startDoor(t, { services: undefined });
    expect((await read(await call(door, 'a.B/C', frame(Buffer.alloc(0))))).trailers?.[0]).toBe('grpc-status: 14');
  });

  it('takes a message of exactly the limit, in both encodings', async (t) => {
    const exact = book('x'.repeat(997));
    expect(exact).toHaveLength(1_000);
    const door = await startDoor(t, { services, maxMessageBytes: 1_000 });
    expect((await read(await call(door, 'library.Library/Reads', frame(exact)))).messages).toHaveLength(1);
    const text = await call(door, 'library.Library/Reads', frame(exact).toString('base64'), {
      'content-type': 'application/grpc-web-text+proto',
    });
    expect((await read(text, { text: true })).messages).toHaveLength(1);
  });
});

describe('cross-origin requests', () => {
  const ORIGIN = 'https://shop.example';
  const preflight = (door: Door, path: string, headers: Record<string, string> = {}) =>
    fetch(door.url + path, {
      method: 'OPTIONS',
      headers: { origin: ORIGIN, 'access-control-request-method': 'POST', ...headers },
    });
  const corsOf = (answer: Response) =>
    Object.fromEntries([...answer.headers].filter(([name]) => name.startsWith('access-control-') || name === 'vary'));

  it('have no cross-origin headers by default', async (t) => {
    const door = await startDoor(t, { services });
    expect(corsOf(await door.get('/v1/search', { origin: ORIGIN }))).toEqual({});
    const asked = await preflight(door, '/v1/search');
    expect([asked.status, corsOf(asked)]).toEqual([204, {}]);
  });

  it('are let through for the configured origins alone, also with failures and gRPC-Web', async (t) => {
    const door = await startDoor(t, { services, cors: { origins: [ORIGIN] } });
    const allowed = {
      vary: 'Origin',
      'access-control-allow-origin': ORIGIN,
      'access-control-expose-headers': 'grpc-status, grpc-message',
    };
    expect(corsOf(await door.get('/v1/search', { origin: ORIGIN }))).toEqual(allowed);
    expect(corsOf(await door.get('/nowhere', { origin: ORIGIN }))).toEqual(allowed);
    expect(corsOf(await call(door, 'library.Library/Reads', frame(book('x')), { origin: ORIGIN }))).toEqual(allowed);
    for (const origin of ['https://evil.example', `${ORIGIN}.evil`, 'null', `${ORIGIN}:444`, ORIGIN.toUpperCase()]) {
      expect(corsOf(await door.get('/v1/search', { origin }))).toEqual({ vary: 'Origin' });
    }
    expect(corsOf(await door.get('/v1/search'))).toEqual({ vary: 'Origin' });
  });

  it('are kept apart by caches also where the function varies its answers', async (t) => {
    const door = await startDoor(t, {
      services,
      cors: { origins: [ORIGIN] },
      script: { unary: () => ({ metadata: [{ key: 'Vary', value: 'Accept-Language' }] }) },
    });
    const answer = await door.get('/v1/search', { origin: ORIGIN });
    expect(answer.headers.get('vary')).toBe('Origin, Accept-Language');
  });

  it('ask first and hear the verbs of the path, the headers and for how long', async (t) => {
    const door = await startDoor(t, { services, cors: { origins: ['*'], maxAgeSeconds: 5 } });
    const asked = await preflight(door, '/v1/books/x', {
      'access-control-request-headers': 'X-Grpc-Web, content-type, b@d',
    });
    expect([asked.status, corsOf(asked)]).toEqual([
      204,
      {
        'access-control-allow-origin': '*',
        'access-control-expose-headers': 'grpc-status, grpc-message',
        'access-control-allow-methods': 'DELETE, GET, HEAD',
        'access-control-allow-headers': 'x-grpc-web, content-type',
        'access-control-max-age': '5',
      },
    ]);
    const strict = await startDoor(t, { services, cors: { origins: [ORIGIN], allowedHeaders: ['authorization'] } });
    expect(
      corsOf(await preflight(strict, '/v1/search', { 'access-control-request-headers': 'x-other' })),
    ).toMatchObject({ 'access-control-allow-headers': 'authorization', 'access-control-max-age': '600' });
    expect(corsOf(await preflight(strict, '/v1/search', { origin: 'https://evil.example' }))).toEqual({
      vary: 'Origin',
    });
  });
});

describe('/openapi.json', () => {
  it('is the description of what is served', async (t) => {
    const door = await startDoor(t, { services });
    const answer = await door.get('/openapi.json');
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'application/json']);
    expect(await answer.json()).toMatchObject({ openapi: '3.1.0', paths: { '/v1/search': { get: {} } } });
    expect((await door.send('POST', '/openapi.json', '{}')).status).toBe(404);
  });

  it('is the function’s own where it has that path', async (t) => {
    const own = servicesOf(
      {
        'own.proto': `syntax = "proto3"; package own; import "google/api/annotations.proto"; message M { string a = 1; }
          service S { rpc R(M) returns (M) { option (google.api.http).get = "/openapi.json"; } }`,
      },
      ['own.S'],
    );
    const door = await startDoor(t, { services: own });
    expect(await (await door.get('/openapi.json')).text()).toBe('{"a":""}');
  });
});
