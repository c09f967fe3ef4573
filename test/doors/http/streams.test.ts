import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { status } from '@grpc/grpc-js';
import { beforeAll, describe, expect, it } from 'vitest';
import { CallFailure } from '../../../src/doors/calls.ts';
import type { Services } from '../../../src/doors/services.ts';
import { library, type Script, startDoor } from './door.ts';

let services: Services;
beforeAll(() => {
  services = library();
});

const EVENTS = { accept: 'text/event-stream' };

/** Answers a book of each name, when all of the input is there. */
const books = (...names: string[]): Script => ({
  async *streamed(_, input) {
    for await (const _message of input);
    for (const name of names) yield { json: { name } };
  },
});

const namesIn = (lines: string) =>
  lines
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => (JSON.parse(line) as { name: string }).name);

/** Answers how many messages came. */
const counting: Script = {
  async *streamed(_, input) {
    let count = 0;
    for await (const _message of input) count += 1;
    yield { json: { id: String(count) } };
  },
};

/** A promise with its resolve. */
function gate<T = void>() {
  let open = (_: T): void => undefined;
  const opened = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

describe('a streamed answer', () => {
  it('is newline-delimited JSON, or server-sent events where the caller accepts them', async (t) => {
    const door = await startDoor(t, { services, script: books('a', 'b\n') });
    const lines = await door.get('/v1/watch/7');
    expect(lines.headers.get('content-type')).toBe('application/x-ndjson');
    expect(namesIn(await lines.text())).toEqual(['a', 'b\n']);
    const events = await door.get('/v1/watch/7', { accept: 'text/html, Text/Event-Stream;q=0.9' });
    expect(events.headers.get('content-type')).toBe('text/event-stream');
    const blocks = (await events.text()).split('\n\n');
    expect(blocks.pop()).toBe('');
    expect(namesIn(blocks.map((block) => /^data: (.*)$/.exec(block)?.[1]).join('\n'))).toEqual(['a', 'b\n']);
    expect(door.seen.map(({ inputs }) => inputs)).toEqual([[{ id: '7' }], [{ id: '7' }]]);
  });

  it('goes out a message at a time, as it comes', async (t) => {
    const second = gate();
    const door = await startDoor(t, {
      services,
      script: {
        async *streamed() {
          yield { json: { name: 'first' } };
          await second.opened;
          yield { json: { name: 'second' } };
        },
      },
    });
    const answer = await door.get('/v1/watch/7');
    const reader = answer.body?.getReader();
    const decoder = new TextDecoder();
    expect(namesIn(decoder.decode((await reader?.read())?.value))).toEqual(['first']);
    second.open();
    expect(namesIn(decoder.decode((await reader?.read())?.value))).toEqual(['second']);
    expect((await reader?.read())?.done).toBe(true);
  });

  it('takes status and headers from its first message', async (t) => {
    const door = await startDoor(t, {
      services,
      script: {
        async *streamed() {
          yield {
            metadata: [
              { key: '_kalix-http-code', value: '203' },
              { key: 'x-a', value: '1' },
            ],
          };
          yield { metadata: [{ key: 'x-b', value: '2' }] };
        },
      },
    });
    const answer = await door.get('/v1/watch/7');
    expect([answer.status, answer.headers.get('x-a'), answer.headers.get('x-b')]).toEqual([203, '1', null]);
    expect(namesIn(await answer.text())).toHaveLength(2);
  });

  it('without a message is 200 and empty', async (t) => {
    const door = await startDoor(t, { services, script: books() });
    const answer = await door.get('/v1/watch/7');
    expect([answer.status, answer.headers.get('content-type'), await answer.text()]).toEqual([
      200,
      'application/x-ndjson',
      '',
    ]);
  });

  it('that fails before its first message is a failure like any other', async (t) => {
    const door = await startDoor(t, {
      services,
      script: {
        // biome-ignore lint/correctness/useYield: it fails before
        async *streamed() {
          throw new CallFailure(status.NOT_FOUND, 'no such shelf');
        },
      },
    });
    for (const headers of [{}, EVENTS]) {
      const answer = await door.get('/v1/watch/7', headers as Record<string, string>);
      expect([answer.status, await answer.text()]).toEqual([404, 'no such shelf']);
    }
  });

  it('that fails later ends with an error event, or is broken off: never does a part look like the whole', async (t) => {
    const script: Script = {
      async *streamed() {
        yield { json: { name: 'a' } };
        throw new CallFailure(status.ABORTED, 'two\nlines');
      },
    };
    const door = await startDoor(t, { services, script });
    const events = await (await door.get('/v1/watch/7', EVENTS)).text();
    expect(events).toMatch(/\n\nevent: error\ndata: \{"code":10,"message":"two\\nlines"\}\n\n$/);
    await expect(door.get('/v1/watch/7').then((answer) => answer.text())).rejects.toThrow();

    const two = await startDoor(t, { services, script, http2: true });
    const stream = two.http2().request({ ':path': '/v1/watch/7' });
    stream.resume();
    // Either the stream is reset with an error, or it closes with a code that says so.
    const failed = await new Promise<boolean>((resolve) => {
      stream.once('error', () => resolve(true));
      stream.once('close', () => resolve(stream.rstCode !== 0));
    });
    expect(failed).toBe(true);
  });

  it('of google.api.HttpBody is its bytes, under the first content type', async (t) => {
    const door = await startDoor(t, {
      services,
      script: {
        async *streamed() {
          yield { json: { contentType: 'text/csv', data: Buffer.from('a,b\n').toString('base64') } };
          yield { json: { data: Buffer.from('1,2\n').toString('base64') } };
        },
      },
    });
    const answer = await door.get('/v1/download/7', EVENTS);
    expect([answer.headers.get('content-type'), await answer.text()]).toEqual(['text/csv', 'a,b\n1,2\n']);
  });

  it('is made only as fast as the caller takes it', async (t) => {
    let made = 0;
    const longTitle = 'x'.repeat(100_000);
    const door = await startDoor(t, {
      services,
      script: {
        async *streamed() {
          for (; made < 1_000; made += 1) yield { json: { longTitle } };
        },
      },
    });
    const request = httpRequest(`${door.url}/v1/watch/7`);
    request.end();
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    // Nothing is read: what the door has made stays at what fits between the two processes' buffers.
    let before = -1;
    while (made !== before) {
      before = made;
      await new Promise((resolve) => setImmediate(resolve));
      await fetch(`${door.url}/nowhere`);
    }
    expect(made).toBeLessThan(500);
    let length = 0;
    for await (const chunk of response) length += chunk.length;
    expect(length).toBeGreaterThan(100_000_000);
    expect(made).toBe(1_000);
  });

  it('whose caller goes in the middle ends the iteration behind it, wherever it is', async (t) => {
    for (const http2 of [false, true]) {
      const ended = gate<string>();
      const called = gate<AbortSignal>();
      const door = await startDoor(t, {
        services,
        http2,
        script: {
          async *streamed({ call }) {
            called.open(call.signal);
            try {
              yield { json: { name: 'a' } };
              await once(call.signal, 'abort');
            } finally {
              ended.open('ended');
            }
          },
        },
      });
      if (http2) {
        const stream = door.http2().request({ ':path': '/v1/watch/7' });
        stream.on('error', () => undefined);
        await once(stream, 'data');
        stream.close(8);
      } else {
        const request = httpRequest(`${door.url}/v1/watch/7`);
        request.on('error', () => undefined);
        request.end();
        const [response] = (await once(request, 'response')) as [IncomingMessage];
        response.on('error', () => undefined);
        await once(response, 'data');
        request.destroy();
      }
      expect(await ended.opened).toBe('ended');
      expect((await called.opened).reason).toMatchObject({ code: status.CANCELLED });
      expect(door.faults).toEqual([]);
    }
  });

  it('whose caller goes while it does not read ends what is behind it, though that knows nothing of the caller', async (t) => {
    for (const http2 of [false, true]) {
      const ended = gate<string>();
      const longTitle = 'x'.repeat(100_000);
      const door = await startDoor(t, {
        services,
        http2,
        script: {
          async *streamed() {
            try {
              while (true) yield { json: { longTitle } };
            } finally {
              ended.open('ended');
            }
          },
        },
      });
      if (http2) {
        const stream = door.http2().request({ ':path': '/v1/watch/7' });
        stream.on('error', () => undefined);
        await once(stream, 'response');
        stream.close(8);
      } else {
        const request = httpRequest(`${door.url}/v1/watch/7`);
        request.on('error', () => undefined);
        request.end();
        const [response] = (await once(request, 'response')) as [IncomingMessage];
        response.on('error', () => undefined);
        request.destroy();
      }
      expect(await ended.opened).toBe('ended');
      expect(door.faults).toEqual([]);
    }
  });

  it('is ended by the deadline of its caller', async (t) => {
    const door = await startDoor(t, {
      services,
      script: {
        async *streamed() {
          yield { json: { name: 'a' } };
          await new Promise(() => undefined);
        },
      },
    });
    const answer = await door.get('/v1/watch/7', { ...EVENTS, 'x-server-timeout': '0.1' });
    expect(await answer.text()).toMatch(/event: error\ndata: \{"code":4,/);
  });
});

describe('a streamed input', () => {
  const LINES = { 'content-type': 'application/x-ndjson' };

  it('is a message a line, each with the fields of the path; blank lines and a missing last end do not matter', async (t) => {
    const door = await startDoor(t, {
      services,
      script: counting,
    });
    const answer = await door.send(
      'POST',
      '/v1/load/Ada',
      '{"edition":1}\r\n\n  \n{"edition":2}\n{"edition":3}',
      LINES,
    );
    expect([answer.status, await answer.text()]).toEqual([200, '{"id":"3","rows":[]}']);
    expect(door.seen[0]?.inputs).toEqual([1, 2, 3].map((edition) => ({ edition, author: { name: 'Ada' } })));
    const empty = await fetch(`${door.url}/v1/load/Ada`, { method: 'POST' });
    expect([empty.status, await empty.text()]).toEqual([200, '{"id":"0","rows":[]}']);
  });

  it('is answered while it still comes, where the method streams both ways', async (t) => {
    const door = await startDoor(t, { services });
    const request = httpRequest(`${door.url}/library.Streams/Talk`, { method: 'POST', headers: LINES });
    request.write('{"name":"a"}\n');
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const chunks = response[Symbol.asyncIterator]();
    expect(namesIn(String((await chunks.next()).value))).toEqual(['a']);
    request.end('{"name":"b"}');
    expect(namesIn(String((await chunks.next()).value))).toEqual(['b']);
    expect((await chunks.next()).done).toBe(true);
  });

  it('of another content type is 400', async (t) => {
    const door = await startDoor(t, { services });
    for (const headers of [{ 'content-type': 'application/json' }, { 'content-type': 'text/plain' }]) {
      const answer = await door.send('POST', '/v1/load/Ada', '[{}]', headers);
      expect([answer.status, await answer.text()]).toEqual([400, expect.stringContaining('send application/x-ndjson')]);
    }
  });

  it('with a line that is no message is 400 with what is wrong, and not what the call made of it', async (t) => {
    const door = await startDoor(t, { services, script: counting });
    for (const [line, reason] of [
      ['{', 'is not JSON'],
      ['{"nope":1}', 'key "nope" is unknown'],
    ] as const) {
      const answer = await door.send('POST', '/v1/load/Ada', `{}\n${line}\n`, LINES);
      expect([answer.status, await answer.text()]).toEqual([400, expect.stringContaining(reason)]);
    }
    const echo = await startDoor(t, { services });
    const talk = await echo.send('POST', '/library.Streams/Talk', '{}\n{\n', { ...LINES, ...EVENTS });
    expect(await talk.text()).toMatch(/event: error\ndata: \{"code":3,"message":"The body is not JSON/);
  });

  it('with a line over the limit is 413, however many lines there are', async (t) => {
    const door = await startDoor(t, {
      services,
      maxMessageBytes: 100,
      script: counting,
    });
    const many = await door.send('POST', '/v1/load/Ada', '{"edition":1}\n'.repeat(5_000), LINES);
    expect(await many.text()).toBe('{"id":"5000","rows":[]}');
    const long = await door.send('POST', '/v1/load/Ada', `{"longTitle":"${'x'.repeat(100)}"}\n`, LINES);
    expect(long.status).toBe(413);
  });

  it('is not read on when the call has answered, and its connection goes on to the next request', async (t) => {
    const door = await startDoor(t, {
      services,
      script: {
        async *streamed(_, input) {
          // It never says that it wants no more.
          await input[Symbol.asyncIterator]().next();
          yield { json: { id: 'enough' } };
        },
      },
    });
    const socket = connect(door.port, '127.0.0.1');
    const chunks = socket[Symbol.asyncIterator]();
    const until = async (end: string) => {
      let text = '';
      while (!text.includes(end)) text += (await chunks.next()).value;
      return text;
    };
    socket.write(
      'POST /v1/load/Ada HTTP/1.1\r\nhost: h\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n' +
        '3\r\n{}\n\r\n',
    );
    expect(await until('"rows":[]}')).toContain('"id":"enough"');
    for (let line = 0; line < 1_000; line += 1) socket.write(`3e8\r\n${' '.repeat(999)}\n\r\n`);
    socket.write('0\r\n\r\nGET /v1/nowhere HTTP/1.1\r\nhost: h\r\n\r\n');
    expect(await until('/v1/nowhere')).toMatch(/^HTTP\/1.1 404/);
    socket.destroy();
    expect(door.seen[0]?.inputs).toHaveLength(1);
  });

  it('whose call ends without an answer is 500', async (t) => {
    const door = await startDoor(t, { services, script: books() });
    const answer = await door.send('POST', '/v1/load/Ada', '{}', LINES);
    expect([answer.status, await answer.text()]).toEqual([500, 'The call ended without an answer.']);
  });
});
