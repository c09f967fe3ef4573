import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { connect as tcpConnect } from 'node:net';
import { status } from '@grpc/grpc-js';
import { beforeAll, describe, expect, it } from 'vitest';
import { CallFailure } from '../../../src/doors/calls.ts';
import type { Services } from '../../../src/doors/services.ts';
import { library, servicesOf, startDoor } from './door.ts';

let services: Services;
beforeAll(() => {
  services = library();
});

/** Sends bytes as they are over TCP and gives all that comes back until the server closes. */
async function raw(port: number, text: string): Promise<string> {
  const socket = tcpConnect(port, '127.0.0.1');
  socket.end(text);
  let answer = '';
  for await (const chunk of socket) answer += chunk;
  return answer;
}

describe('an HTTP/JSON call', () => {
  it('is answered with 200 and compact canonical JSON, defaults printed, unset messages and oneofs left out', async (t) => {
    const door = await startDoor(t, { services });
    const answer = await door.get('/v1/books/x?copies=12&author.name=Ada');
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe('application/json');
    expect(await answer.text()).toBe(
      '{"name":"x","longTitle":"","copies":"12","sold":"0","edition":0,"lent":false,"price":0,"weight":0,"cover":"",' +
        '"binding":"UNBOUND","tags":[],"pages":[],"author":{"name":"Ada","born":0},"counts":{},"editors":[],"bindings":[],"shelf":0}',
    );
    expect(door.seen.map(({ name }) => name)).toEqual(['library.Library.Reads']);
    expect(door.input()).toEqual({ name: 'x', copies: '12', author: { name: 'Ada' } });
  });

  it('reaches every method at POST /<service>/<method>', async (t) => {
    const door = await startDoor(t, { services });
    const answer = await door.send('POST', '/library.Library/Deep', '{"next":{}}');
    expect([answer.status, await answer.text()]).toEqual([200, '{"next":{}}']);
  });

  it('has the field of response_body alone as its answer, null where it is unset', async (t) => {
    const door = await startDoor(t, { services });
    expect(await (await door.send('PATCH', '/v1/books/x/author', '{"born":1}')).text()).toBe('{"name":"","born":1}');
    expect(await (await door.send('PUT', '/v1/books/x/tags', '["a"]')).text()).toBe('["a"]');
    expect(await (await door.send('PUT', '/v1/books/x/tags', '[]')).text()).toBe('[]');
    expect(await (await door.get('/v1/best/x')).text()).toBe('null');
  });

  it('has the bytes of google.api.HttpBody as they are, both ways', async (t) => {
    const png = Buffer.from([0, 255, 10, 13]);
    const door = await startDoor(t, {
      services,
      script: {
        unary: () => ({ json: { contentType: 'image/png', data: png.toString('base64') } }),
      },
    });
    const page = await door.get('/v1/pages/x');
    expect(page.headers.get('content-type')).toBe('image/png');
    expect(Buffer.from(await page.arrayBuffer())).toEqual(png);
    const echo = await startDoor(t, { services });
    const attached = await echo.send('POST', '/v1/uploads/u', png, { 'content-type': 'image/gif' });
    expect(attached.headers.get('content-type')).toBe('image/gif');
    expect(Buffer.from(await attached.arrayBuffer())).toEqual(png);
  });

  it('with HttpBody whose content type cannot be a header is octets', async (t) => {
    const door = await startDoor(t, {
      services,
      script: { unary: () => ({ json: { contentType: 'a/b\r\nx-evil: 1', data: 'AQ==' } }) },
    });
    const page = await door.get('/v1/pages/x');
    expect(page.headers.get('content-type')).toBe('application/octet-stream');
    expect(page.headers.get('x-evil')).toBeNull();
  });

  it('writes an Any by the types of the function, and fails with 500 where it does not have the type', async (t) => {
    const any = { '@type': 'type.googleapis.com/library.Author', name: 'Ada' };
    const door = await startDoor(t, { services, script: { unary: () => ({ json: { extra: any } }) } });
    expect(((await (await door.get('/v1/search')).json()) as { extra: unknown }).extra).toEqual({ ...any, born: 0 });
    // Field 23, an Any with the type url "x/no.Type".
    const bytes = Buffer.from([0xba, 1, 11, 10, 9, ...Buffer.from('x/no.Type')]);
    const other = await startDoor(t, { services, script: { unary: () => ({ bytes }) } });
    const answer = await other.get('/v1/search');
    expect([answer.status, answer.headers.get('grpc-status')]).toEqual([500, '13']);
    expect(await answer.text()).toContain('cannot be written as JSON');
  });

  it('that answers bytes which are not of the output type is 500', async (t) => {
    const door = await startDoor(t, { services, script: { unary: () => ({ bytes: Buffer.from([0x0a, 200]) }) } });
    expect((await door.get('/v1/search')).status).toBe(500);
    expect((await door.get('/v1/pages/x')).status).toBe(500);
  });
});

describe('a failure', () => {
  it.for([
    [status.CANCELLED, 499],
    [status.UNKNOWN, 500],
    [status.INVALID_ARGUMENT, 400],
    [status.DEADLINE_EXCEEDED, 504],
    [status.NOT_FOUND, 404],
    [status.ALREADY_EXISTS, 409],
    [status.PERMISSION_DENIED, 403],
    [status.RESOURCE_EXHAUSTED, 429],
    [status.FAILED_PRECONDITION, 400],
    [status.ABORTED, 409],
    [status.OUT_OF_RANGE, 400],
    [status.UNIMPLEMENTED, 501],
    [status.INTERNAL, 500],
    [status.UNAVAILABLE, 503],
    [status.DATA_LOSS, 500],
    [status.UNAUTHENTICATED, 401],
  ] as const)('of code %i is %i, with exactly its description as body', async ([code, expected], t) => {
    const door = await startDoor(t, {
      services,
      script: {
        unary: () => {
          throw new CallFailure(code, 'no <b>books</b> – é', { metadata: [{ key: 'X-Why', value: 'because' }] });
        },
      },
    });
    const answer = await door.get('/v1/search');
    expect(answer.status).toBe(expected);
    expect(await answer.text()).toBe('no <b>books</b> – é');
    expect(answer.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
    expect(answer.headers.get('grpc-status')).toBe(String(code));
    expect(answer.headers.get('x-why')).toBe('because');
  });

  it('that is none of a call is 500, told to the log and not to the caller', async (t) => {
    const door = await startDoor(t, {
      services,
      script: {
        unary: () => {
          throw new TypeError('secret detail');
        },
      },
    });
    const answer = await door.get('/v1/search');
    expect([answer.status, await answer.text()]).toEqual([
      500,
      'The call failed inside the runtime; its log says more.',
    ]);
    expect(door.faults).toMatchObject([{ error: { message: 'secret detail' } }]);
  });
});

describe('a request that the door refuses', () => {
  it('is 404 for an unknown path, 405 with Allow for a wrong verb', async (t) => {
    const door = await startDoor(t, { services });
    expect((await door.get('/nowhere')).status).toBe(404);
    const wrong = await door.get('/v1/shelves/1/books');
    expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'POST']);
    expect(door.seen).toEqual([]);
  });

  it('is 503 with Retry-After while the function is not known', async (t) => {
    const door = await startDoor(t, { services: undefined });
    const answer = await door.get('/v1/search');
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1']);
  });

  it('is 413 for a body over the limit, announced or not, and the connection goes on', async (t) => {
    const door = await startDoor(t, { services, maxMessageBytes: 100 });
    const large = JSON.stringify({ longTitle: 'x'.repeat(1_000_000) });
    expect((await door.send('POST', '/v1/shelves/1/books', large)).status).toBe(413);
    const request = httpRequest(`${door.url}/v1/shelves/1/books`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'transfer-encoding': 'chunked' },
    });
    request.end(large);
    const [response] = await once(request, 'response');
    expect(response.statusCode).toBe(413);
    response.resume();
    await once(response, 'end');
    expect((await door.send('POST', '/v1/shelves/1/books', '{}')).status).toBe(200);
    expect(door.seen).toHaveLength(1);
  });

  it('takes a body of exactly the limit', async (t) => {
    const door = await startDoor(t, { services, maxMessageBytes: 100 });
    const exact = JSON.stringify({ longTitle: 'x'.repeat(84) });
    expect(Buffer.byteLength(exact)).toBe(100);
    expect((await door.send('POST', '/v1/shelves/1/books', exact)).status).toBe(200);
    expect((await door.send('POST', '/v1/shelves/1/books', `${exact} `)).status).toBe(413);
  });

  it('is 415 for a compressed body', async (t) => {
    const door = await startDoor(t, { services });
    const answer = await door.send('POST', '/v1/shelves/1/books', '{}', { 'content-encoding': 'gzip' });
    expect([answer.status, answer.headers.get('accept-encoding')]).toEqual([415, 'identity']);
  });

  it('is 400 for a wrong content type, malformed JSON, an unknown parameter and broken percent-encoding', async (t) => {
    const door = await startDoor(t, { services });
    const answers = await Promise.all([
      door.send('POST', '/v1/shelves/1/books', '{}', { 'content-type': 'text/plain' }),
      door.send('POST', '/v1/shelves/1/books', '{'),
      door.get('/v1/search?nope=1'),
      door.get('/v1/books/%ff'),
      door.get('/v1/editions/x/y'),
    ]);
    expect(answers.map((answer) => [answer.status, answer.headers.get('grpc-status')])).toEqual(
      answers.map(() => [400, '3']),
    );
    expect(door.seen).toEqual([]);
    expect(door.faults).toEqual([]);
  });

  it('does not begin another header with what the caller sent', async (t) => {
    const door = await startDoor(t, { services });
    const answer = await raw(door.port, 'GET /v1/x%0d%0aevil:%201 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1.1 404 /);
    expect(answer.split('\r\n\r\n')[0]).not.toMatch(/evil/);
  });

  it('takes a target with scheme and host, as proxies send it', async (t) => {
    const door = await startDoor(t, { services });
    const answer = await raw(
      door.port,
      'GET http://example.com/v1/books/x?edition=3 HTTP/1.1\r\nhost: example.com\r\nconnection: close\r\n\r\n',
    );
    expect(answer).toMatch(/^HTTP\/1.1 200 /);
    expect(door.input()).toEqual({ name: 'x', edition: 3 });
  });
});

describe('metadata', () => {
  it('is every header but those of the transport and the reserved ones, in lower case and in order', async (t) => {
    const door = await startDoor(t, { services });
    await raw(
      door.port,
      [
        'POST /v1/books/x:cancel HTTP/1.1',
        'Host: h',
        'Connection: close',
        'Content-Type: application/json',
        'Content-Length: 2',
        'Accept: */*',
        'Accept-Language: de',
        'User-Agent: me',
        'TE: trailers',
        'Authorization: Bearer t',
        'Cookie: a=b',
        'X-Forwarded-For: 1.2.3.4',
        'X-Twice: 1',
        'X-Twice: 2',
        'X-Text: caf\u00e9',
        'Key-Bin: AQI, Aw==',
        'Grpc-Timeout: 5S',
        'X-Server-Timeout: 5',
        '_kalix-src: self',
        '_Kalix-JWT-claim-sub: admin',
        'stateferry-origin: x',
        '__proto__: p',
        '',
        '{}',
      ].join('\r\n'),
    );
    expect(door.seen[0]?.call.metadata).toEqual([
      { key: 'authorization', value: 'Bearer t' },
      { key: 'cookie', value: 'a=b' },
      { key: 'x-forwarded-for', value: '1.2.3.4' },
      { key: 'x-twice', value: '1' },
      { key: 'x-twice', value: '2' },
      { key: 'x-text', value: 'caf\u00e9' },
      { key: 'key-bin', value: new Uint8Array([1, 2]) },
      { key: 'key-bin', value: new Uint8Array([3]) },
      { key: '__proto__', value: 'p' },
    ]);
  });

  it('under a -bin name that is not base64 is 400', async (t) => {
    const door = await startDoor(t, { services });
    expect((await door.get('/v1/search', { 'x-bin': '***' })).status).toBe(400);
  });

  it('of a reply sets headers and the status, and nothing that would break the answer', async (t) => {
    const door = await startDoor(t, {
      services,
      script: {
        unary: () => ({
          metadata: [
            { key: '_kalix-http-code', value: '201' },
            { key: 'Location', value: '/v1/books/1' },
            { key: 'set-cookie', value: 'a=1' },
            { key: 'set-cookie', value: 'b=2' },
            { key: 'x-bytes', value: new Uint8Array([1, 2]) },
            { key: 'x-more-bin', value: new Uint8Array([3]) },
            { key: 'x-evil', value: 'a\r\nx-injected: 1' },
            { key: 'x-evil\r\nx-injected', value: '1' },
            { key: 'bad name', value: '1' },
            { key: '', value: '1' },
            { key: 'x-text', value: 'caf\u00e9 \u2713' },
            { key: 'connection', value: 'close' },
            { key: 'Transfer-Encoding', value: 'chunked' },
            { key: 'content-length', value: '1' },
            { key: 'Content-Type', value: 'text/html' },
            { key: 'content-encoding', value: 'gzip' },
            { key: 'grpc-status', value: '5' },
            { key: 'access-control-allow-origin', value: '*' },
            { key: '_kalix-src', value: 'self' },
            { key: 'stateferry-origin', value: 'x' },
            { key: '__proto__', value: 'x' },
          ],
        }),
      },
    });
    const answer = await door.get('/v1/search');
    expect(answer.status).toBe(201);
    const { date, 'keep-alive': _, connection, ...headers } = Object.fromEntries(answer.headers);
    expect(date).toBeDefined();
    expect(connection).not.toBe('close');
    expect(headers).toEqual({
      'content-length': expect.any(String),
      'content-type': 'application/json',
      location: '/v1/books/1',
      'set-cookie': expect.any(String),
      'x-bytes-bin': 'AQI=',
      'x-more-bin': 'Aw==',
      'x-text': Buffer.from('caf\u00e9 \u2713').toString('latin1'),
      'x-content-type-options': 'nosniff',
      ...JSON.parse('{"__proto__":"x"}'),
    });
    expect(answer.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
  });

  it('asks for a status without a body, and cannot ask for one that is none', async (t) => {
    const asking = (value: string) =>
      startDoor(t, { services, script: { unary: () => ({ metadata: [{ key: '_kalix-http-code', value }] }) } });
    const none = await (await asking('204')).get('/v1/search');
    expect([none.status, await none.text(), none.headers.get('content-length')]).toEqual([204, '', null]);
    for (const value of ['100', '600', '99', 'abc', '20 0', '']) {
      expect((await (await asking(value)).get('/v1/search')).status).toBe(200);
    }
  });
});

describe('the time that a caller waits', () => {
  it('is its deadline, and ends the call', async (t) => {
    let signal: AbortSignal | undefined;
    const door = await startDoor(t, {
      services,
      script: {
        unary: async ({ call }) => {
          signal = call.signal;
          await new Promise(() => undefined);
          return {};
        },
      },
    });
    const before = Date.now();
    const answer = await door.get('/v1/search', { 'x-server-timeout': '0.05' });
    expect([answer.status, answer.headers.get('grpc-status')]).toEqual([504, '4']);
    expect(door.seen[0]?.call.deadline).toBeGreaterThanOrEqual(before + 50);
    expect(door.seen[0]?.call.deadline).toBeLessThanOrEqual(Date.now() + 50);
    expect(signal?.aborted).toBe(true);
  });

  it('ends while the body is still to come', async (t) => {
    const door = await startDoor(t, { services });
    for (const type of ['application/json', 'application/x-ndjson', 'application/grpc-web']) {
      const path = type.endsWith('ndjson') ? '/library.Streams/Load' : '/library.Library/Reads';
      const socket = tcpConnect(door.port, '127.0.0.1');
      socket.write(
        `POST ${path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\nx-server-timeout: 0.05\r\ncontent-type: ${type}\r\n` +
          'content-length: 10\r\n\r\n{',
      );
      let answer = '';
      for await (const chunk of socket) answer += chunk;
      expect(answer).toMatch(/grpc-status: 4\r\n/);
    }
    expect(door.seen.flatMap(({ inputs }) => inputs)).toEqual([]);
  });

  it('is the shorter of both headers, and 400 where one of them is no time', async (t) => {
    const door = await startDoor(t, { services });
    await door.get('/v1/search', { 'x-server-timeout': '3600', 'grpc-timeout': '60S' });
    expect((door.seen[0]?.call.deadline ?? 0) - Date.now()).toBeLessThanOrEqual(60_000);
    await door.get('/v1/search', { 'grpc-timeout': '99999999H' });
    expect(door.seen[1]?.call.signal.aborted).toBe(false);
    for (const headers of [{ 'x-server-timeout': 'soon' }, { 'x-server-timeout': '-1' }, { 'grpc-timeout': '5' }]) {
      expect((await door.get('/v1/search', headers as unknown as Record<string, string>)).status).toBe(400);
    }
    expect(door.seen).toHaveLength(2);
  });

  it('ends when the caller is gone', async (t) => {
    let started = (_: AbortSignal): void => undefined;
    const signal = new Promise<AbortSignal>((resolve) => {
      started = resolve;
    });
    const door = await startDoor(t, {
      services,
      script: {
        unary: async ({ call }) => {
          started(call.signal);
          await new Promise(() => undefined);
          return {};
        },
      },
    });
    const controller = new AbortController();
    const answer = fetch(`${door.url}/v1/search`, { signal: controller.signal });
    const ended = expect(answer).rejects.toThrow();
    const called = await signal;
    controller.abort();
    await ended;
    if (!called.aborted) await once(called, 'abort');
    expect(called.reason).toMatchObject({ code: status.CANCELLED });
  });
});

describe('a caller that goes in the middle of its body', () => {
  it('makes no call and no fault, and the door goes on', async (t) => {
    const door = await startDoor(t, { services });
    for (const head of ['POST /v1/shelves/1/books', 'POST /v1/blobs', 'POST /library.Streams/Load']) {
      const type = head.endsWith('Load') ? 'application/x-ndjson' : 'application/json';
      const socket = tcpConnect(door.port, '127.0.0.1');
      socket.write(`${head} HTTP/1.1\r\nhost: h\r\ncontent-type: ${type}\r\ncontent-length: 100\r\n\r\n{"edi`);
      // The door is in the middle of the body when it answers another request.
      expect((await door.get('/nowhere')).status).toBe(404);
      socket.resetAndDestroy();
      await once(socket, 'close');
      expect((await door.get('/nowhere')).status).toBe(404);
    }
    expect(door.seen.flatMap(({ inputs }) => inputs)).toEqual([]);
    expect(door.faults).toEqual([]);
  });
});

describe('HTTP/2', () => {
  it('is answered like HTTP/1.1', async (t) => {
    const door = await startDoor(t, {
      services,
      http2: true,
      script: {
        unary: () => ({
          json: { name: 'n' },
          metadata: [
            { key: 'x-a', value: 'caf\u00e9' },
            { key: 'connection', value: 'close' },
            { key: ':status', value: '500' },
            { key: '_kalix-http-code', value: '202' },
          ],
        }),
      },
    });
    const stream = door.http2().request({
      ':method': 'POST',
      ':path': '/v1/shelves/1/books',
      'content-type': 'application/json',
      'x-my': 'value',
      cookie: 'a=b',
    });
    stream.end('{"edition":4}');
    const [headers] = await once(stream, 'response');
    let body = '';
    for await (const chunk of stream) body += chunk;
    expect(headers).toMatchObject({
      ':status': 202,
      'content-type': 'application/json',
      'x-a': Buffer.from('caf\u00e9').toString('latin1'),
    });
    expect(body).toMatch(/^\{"name":"n",/);
    expect(door.seen[0]?.call.metadata).toEqual([
      { key: 'x-my', value: 'value' },
      { key: 'cookie', value: 'a=b' },
    ]);
    expect(door.input()).toEqual({ name: 'shelves/1', edition: 4 });
  });

  it('takes metadata that HTTP/2 has only once, and answers without a body', async (t) => {
    const metadata = ['201', '204'].map((value) => [
      { key: 'location', value: '/a' },
      { key: 'Location', value: '/b' },
      { key: 'set-cookie', value: 'a=1' },
      { key: 'set-cookie', value: 'b=2' },
      { key: '_kalix-http-code', value },
    ]);
    const door = await startDoor(t, {
      services,
      http2: true,
      script: {
        unary: () => ({ metadata: metadata[0] ?? [] }),
        async *streamed() {
          yield { metadata: metadata[1] ?? [] };
          yield {};
        },
      },
    });
    const session = door.http2();
    for (const [path, expected] of [
      ['/v1/search', 201],
      ['/v1/watch/1', 204],
    ] as const) {
      const stream = session.request({ ':path': path });
      const [headers] = await once(stream, 'response');
      expect(headers).toMatchObject({ ':status': expected, location: '/a, /b', 'set-cookie': ['a=1', 'b=2'] });
      stream.resume();
      await once(stream, 'close');
      expect(stream.rstCode).toBe(0);
    }
    expect(door.faults).toEqual([]);
  });

  it('ends the call when the caller resets its stream', async (t) => {
    let started = (_: AbortSignal): void => undefined;
    const signal = new Promise<AbortSignal>((resolve) => {
      started = resolve;
    });
    const door = await startDoor(t, {
      services,
      http2: true,
      script: {
        unary: async ({ call }) => {
          started(call.signal);
          await new Promise(() => undefined);
          return {};
        },
      },
    });
    const stream = door.http2().request({ ':path': '/v1/search' });
    stream.on('error', () => undefined);
    const called = await signal;
    stream.close(8);
    if (!called.aborted) await once(called, 'abort');
    expect(called.reason).toMatchObject({ code: status.CANCELLED });
  });
});

describe('the verb OPTIONS', () => {
  it('says which verbs a path has', async (t) => {
    const door = await startDoor(t, { services });
    const answer = await fetch(`${door.url}/v1/books/x`, { method: 'OPTIONS' });
    expect([answer.status, answer.headers.get('allow')]).toEqual([204, 'DELETE, GET, HEAD']);
    expect((await fetch(`${door.url}/nowhere`, { method: 'OPTIONS' })).status).toBe(404);
  });
});

describe('a HEAD rule', () => {
  it('is answered without a body', async (t) => {
    const door = await startDoor(t, { services });
    const answer = await fetch(`${door.url}/v1/books/x`, { method: 'HEAD' });
    expect([answer.status, await answer.text()]).toEqual([200, '']);
    expect(door.seen[0]?.name).toBe('library.Library.Check');
  });
});

describe('annotations that are not served', () => {
  it('are told once for the same services', async (t) => {
    const broken = servicesOf(
      {
        'b.proto': `syntax = "proto3"; package b; import "google/api/annotations.proto"; message M {}
          service S { rpc R(M) returns (M) { option (google.api.http).get = "/{no}"; } }`,
      },
      ['b.S'],
    );
    const door = await startDoor(t, { services: broken });
    await door.get('/x');
    expect((await door.send('POST', '/b.S/R', '{}')).status).toBe(200);
    expect(door.faults.map(({ sentence }) => sentence)).toEqual([
      'A google.api.http rule of b.S.R is not served: GET /{no} has the variable {no}, but b.M has no field no. ' +
        'Correct the annotation in its .proto file.',
    ]);
  });
});
