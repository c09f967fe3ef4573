import type { JsonValue } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import { beforeAll, describe, expect, it } from 'vitest';
import { createDoorClient, type DoorClient } from '../support/door-client.ts';
import {
  buildFunction,
  FUNCTIONS,
  type FunctionProcess,
  missingTools,
  startFunction,
} from '../support/function-process.ts';
import { createDatabase } from '../support/postgres.ts';
import { eventually } from '../support/processes.ts';
import { fileScope } from '../support/scope.ts';
import { deploymentName, type RunningRuntime, startRuntime } from '../support/start-runtime.ts';

/* The same board of posts, made of replicated data with every SDK that has them, has the same conversation through the doors. */

/** More than the runtimes here may have open at once: entities are passivated all the time. */
const MAX_STREAMS = 2;
const MANY = 4;
/** A command may have to wait for a JVM to start again. */
const ANSWERED_WITHIN_MS = 60_000;
/** The first build of a board fetches what it needs. */
const BUILD_WITHIN_MS = 15 * 60_000;

interface Board {
  readonly source: keyof typeof FUNCTIONS;
  /** Whether the side effects that it asks for reach the runtime. */
  readonly effects: boolean;
  /** Whether it has the maps that only Kalix has. */
  readonly maps: boolean;
  /** Whether it has streamed commands. */
  readonly streams: boolean;
}

/** A call of a streamed command. */
interface Watcher {
  /** What it was told so far. */
  readonly told: JsonValue[];
  /** Resolves, when the call ends, to its gRPC status. */
  readonly ended: Promise<string>;
  /** The caller hangs up. */
  leave(): void;
}

const BOARDS: readonly Board[] = [
  { source: 'crdt-kalix', effects: true, maps: true, streams: false },
  { source: 'crdt-kalix-java', effects: true, maps: true, streams: false },
  { source: 'crdt-akkaserverless', effects: true, maps: false, streams: false },
  { source: 'crdt-cloudstate', effects: true, maps: false, streams: true },
  // The SDK loses every side effect on its way out.
  { source: 'crdt-cloudstate-java', effects: false, maps: false, streams: true },
  { source: 'board', effects: true, maps: false, streams: true },
];

/** Its messages are the same for all boards, and it has all the streamed methods. */
const CLIENT = 'crdt-cloudstate';
/** The one with all the maps. */
const MAPS_CLIENT = 'crdt-kalix';
for (const source of [CLIENT, MAPS_CLIENT] as const) await buildFunction(FUNCTIONS[source]);

const lacking = new Map<string, string>();
for (const { source } of BOARDS) {
  const missing = await missingTools(FUNCTIONS[source]);
  if (missing.length > 0) lacking.set(source, `(skipped: this machine has no ${missing.join(', ')})`);
}

describe.for(BOARDS)('$source', ({ source, effects, maps, streams }) => {
  const reason = lacking.get(source);
  if (reason !== undefined) {
    it.skip(`holds the conversation ${reason}`);
    return;
  }

  const scope = fileScope();
  let fn: FunctionProcess;
  let config: Parameters<typeof startRuntime>[1];
  let runtime: RunningRuntime;
  let at: string;
  let client: DoorClient;

  async function start(): Promise<void> {
    runtime = startRuntime(scope, config);
    at = await runtime.doors();
    await runtime.ready();
    client = await createDoorClient(scope, { at, source: maps ? MAPS_CLIENT : CLIENT });
  }

  beforeAll(async () => {
    await buildFunction(FUNCTIONS[source]);
    fn = await startFunction(scope, { source });
    config = {
      'deployment.name': deploymentName(scope),
      'deployment.shards': 4,
      'postgres.url': await createDatabase(scope),
      'function.url': `http://${fn.url}`,
      'function.maxStreams': MAX_STREAMS,
      'doors.enabled': true,
      'doors.port': 0,
    };
    await start();
  }, BUILD_WITHIN_MS);

  const call = async (method: string, input: JsonValue) =>
    (await client.call(`board.${method}`, input, { deadlineMs: ANSWERED_WITHIN_MS })).output;
  const like = async (postId: string, times = 1) => countOf(await call('Likes/Like', { postId, times }));
  const likes = async (postId: string) => countOf(await call('Likes/Count', { postId }));
  const countOf = (answer: JsonValue) => (answer as { count?: number }).count ?? 0;
  const failure = (wanted: Promise<unknown>) =>
    wanted.then(
      () => Promise.reject(new Error('the call was expected to fail')),
      ({ code, details }: grpc.ServiceError) => ({ code: grpc.status[code], details }),
    );
  async function http(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: object) {
    const response = await fetch(`http://${at}${path}`, {
      method,
      ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    });
    return { status: response.status, body: await response.text() };
  }
  function watch(method: string, input: JsonValue): Watcher {
    const stream = client.stream(`board.${method}`, { deadlineMs: ANSWERED_WITHIN_MS });
    const told: JsonValue[] = [];
    stream.on('data', (message: JsonValue) => told.push(message));
    // Told by the status.
    stream.on('error', () => undefined);
    const ended = new Promise<string>((resolve) => {
      stream.on('status', ({ code }: grpc.StatusObject) => resolve(String(grpc.status[code])));
    });
    stream.end(input);
    return { told, ended, leave: () => stream.cancel() };
  }
  const ok = (body: unknown) => ({ status: 200, body: JSON.stringify(body) });
  /** Lets others have all the streams, one after the other. */
  async function passivate(postId: string): Promise<void> {
    for (let n = 0; n < MANY; n += 1) await likes(`another than ${postId}, ${n}`);
  }

  it('counts up and down', async () => {
    expect(await likes('a')).toBe(0);
    expect(await like('a', 3)).toBe(3);
    expect(await call('Likes/Unlike', { postId: 'a', times: 5 })).toEqual({ count: -2 });
    expect(await http('POST', '/posts/a/likes', { times: 6 })).toEqual(ok({ count: 4 }));
    await passivate('a');
    expect(await http('GET', '/posts/a/likes')).toEqual(ok({ count: 4 }));
  });

  it('has a set', async () => {
    expect(await call('Tags/Add', { postId: 'a', tag: 'red' })).toEqual({ tags: ['red'] });
    expect(await http('POST', '/posts/a/tags/blue')).toEqual(ok({ tags: ['blue', 'red'] }));
    expect(await call('Tags/Add', { postId: 'a', tag: 'red' })).toEqual({ tags: ['blue', 'red'] });
    expect(await http('DELETE', '/posts/a/tags/red')).toEqual(ok({ tags: ['blue'] }));
    await passivate('a');
    expect(await http('GET', '/posts/a/tags')).toEqual(ok({ tags: ['blue'] }));
    expect(await call('Tags/Remove', { postId: 'a', tag: 'blue' })).toEqual({});
    await passivate('a');
    expect(await call('Tags/List', { postId: 'a' })).toEqual({});
  });

  it('has a register', async () => {
    expect(await call('Headline/Read', { postId: 'a' })).toEqual({});
    await call('Headline/Write', { postId: 'a', text: 'first', author: 'ada' });
    const second = { text: 'second', author: 'bob' };
    expect(await http('PUT', '/posts/a/headline', second)).toEqual(ok(second));
    await passivate('a');
    expect(await http('GET', '/posts/a/headline')).toEqual(ok(second));
  });

  it('has a map of counters', async () => {
    for (const kind of ['heart', 'grin', 'heart']) await call('Reactions/React', { postId: 'a', kind });
    await passivate('a');
    expect(await http('POST', '/posts/a/reactions/heart')).toMatchObject({ status: 200 });
    expect(await call('Reactions/Get', { postId: 'a' })).toEqual({ counts: { heart: 3, grin: 1 } });
    expect(await http('DELETE', '/posts/a/reactions/heart')).toEqual(ok({ counts: { grin: 1 } }));
    await passivate('a');
    expect(await call('Reactions/React', { postId: 'a', kind: 'heart' })).toEqual({ counts: { grin: 1, heart: 1 } });
  });

  it('has a vote, of one voter', async () => {
    expect(await call('Approval/Get', { postId: 'a' })).toEqual({ of: 1 });
    const approved = { approved: true, for: 1, of: 1 };
    expect(await http('PUT', '/posts/a/approval', { approved: true })).toEqual(ok(approved));
    await passivate('a');
    expect(await call('Approval/Get', { postId: 'a' })).toEqual(approved);
    expect(await call('Approval/Decide', { postId: 'a' })).toEqual({ of: 1 });
    await passivate('a');
    expect(await call('Approval/Get', { postId: 'a' })).toEqual({ of: 1 });
  });

  it('answers by another one that it forwards to, and after its effects', async () => {
    expect(await call('Headline/Like', { postId: 'b' })).toEqual({ count: 1 });
    await call('Reactions/React', { postId: 'b', kind: 'heart' });
    expect(await likes('b')).toBe(effects ? 2 : 1);
  });

  it('fails with its own words, and nothing has changed, whatever comes next', async () => {
    const words = 'Cannot like a post -1 times';
    await like('c', 2);
    expect(await failure(like('c', -1))).toEqual({ code: 'UNKNOWN', details: words });
    expect(await http('POST', '/posts/c/likes', { times: -1 })).toEqual({ status: 500, body: words });
    expect(await likes('c')).toBe(2);
    expect(await like('c', 1)).toBe(3);
    await passivate('c');
    expect(await likes('c')).toBe(3);
  });

  it('has no other commands than its service', async () => {
    const raw = new grpc.Client(at, grpc.credentials.createInsecure());
    const same = (bytes: Buffer) => bytes;
    const sent = new Promise((resolve, reject) => {
      raw.makeUnaryRequest('/board.Likes/Nothing', same, same, Buffer.alloc(0), (error) =>
        error === null ? resolve(0) : reject(error),
      );
    });
    expect(await failure(sent)).toMatchObject({ code: 'UNIMPLEMENTED' });
    raw.close();
    expect(await http('POST', '/board.Likes/Nothing', {})).toMatchObject({ status: 404 });
  });

  it('is deleted, and starts anew', async () => {
    await like('d', 5);
    expect(await http('DELETE', '/posts/d/likes')).toEqual(ok({}));
    expect(await likes('d')).toBe(0);
    expect(await like('d', 2)).toBe(2);
    const watcher = streams ? watch('Likes/Watch', { postId: 'd' }) : undefined;
    if (watcher) await counted(watcher, [2]);
    await call('Likes/Forget', { postId: 'd' });
    // The Cloudstate SDK in JavaScript fails on its way to those who watch, and is asked again without them.
    if (watcher) expect(['OK', 'UNAVAILABLE']).toContain(await watcher.ended);
    await passivate('d');
    expect(await like('d', 1)).toBe(1);
  });

  it('counts the likes of ten callers at once', async () => {
    const counts = await Promise.all(Array.from({ length: 10 }, () => like('e')));
    expect(counts.sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(await likes('e')).toBe(10);
  });

  if (maps) {
    it('has maps of registers, of sets, and of this and that', async () => {
      await call('Translations/Write', { postId: 'a', language: 'fr', text: 'deux' });
      await http('PUT', '/posts/a/translations/de', { text: 'zwei' });
      for (const url of ['u1', 'u2']) await call('Links/Add', { postId: 'a', kind: 'see', url });
      await call('Links/Add', { postId: 'a', kind: 'by', url: 'u3' });
      await call('Links/Remove', { postId: 'a', kind: 'by', url: 'u3' });
      await call('Links/Remove', { postId: 'a', kind: 'see', url: 'u1' });
      await call('Edits/Note', { postId: 'a', editor: 'bob', reason: 'typo' });
      await passivate('a');
      await call('Edits/Note', { postId: 'a', editor: 'ada', reason: 'style' });
      await passivate('a');
      expect(await call('Translations/Get', { postId: 'a' })).toEqual({ texts: { fr: 'deux', de: 'zwei' } });
      expect(await http('GET', '/posts/a/links')).toEqual(ok({ links: { see: { urls: ['u2'] } } }));
      expect(await call('Edits/Get', { postId: 'a' })).toEqual({
        editors: ['ada', 'bob'],
        count: 2,
        lastReason: 'style',
      });
    });
  }

  const counts = ({ told }: Watcher) => told.map(countOf);
  async function counted(watcher: Watcher, wanted: readonly number[]): Promise<void> {
    await eventually(`${wanted} was told`, () => watcher.told.length >= wanted.length);
    expect(counts(watcher)).toEqual(wanted);
  }

  if (streams) {
    it('tells everybody who watches of each change, in order, until they hang up', async () => {
      await like('w', 5);
      const [one, two] = [watch('Likes/Watch', { postId: 'w' }), watch('Likes/Watch', { postId: 'w' })];
      await Promise.all([counted(one, [5]), counted(two, [5])]);
      await Promise.all([like('w'), like('w'), call('Likes/Unlike', { postId: 'w', times: 3 }).then(() => like('w'))]);
      await eventually('all was told', () => two.told.length === 5);
      expect(counts(two).at(-1)).toBe(5);
      expect(new Set(counts(two)).size).toBeGreaterThan(2);
      expect(counts(one)).toEqual(counts(two));
      one.leave();
      expect(await one.ended).toBe('CANCELLED');
      expect(await like('w')).toBe(6);
      await eventually('the one who stays was told', () => two.told.length === 6);
      expect(one.told).toHaveLength(5);
      two.leave();
      expect(await two.ended).toBe('CANCELLED');
      expect(await likes('w')).toBe(6);
    });

    it('ends the stream when the function has said enough, by HTTP too', async () => {
      const watcher = watch('Likes/Watch', { postId: 'x', enough: 3 });
      await counted(watcher, [0]);
      const response = await fetch(`http://${at}/posts/x/likes/watch?enough=3`);
      await like('x', 2);
      await like('x', 2);
      expect(await watcher.ended).toBe('OK');
      expect(counts(watcher)).toEqual([0, 2, 4]);
      expect(await response.text()).toBe('{"count":0}\n{"count":2}\n{"count":4}\n');
      const late = watch('Likes/Watch', { postId: 'x', enough: 3 });
      expect(await late.ended).toBe('OK');
      expect(counts(late)).toEqual([4]);
      expect(await like('x')).toBe(5);
    });

    it('has changed when a streamed command begins, and when its caller has hung up', async () => {
      const names = (answer: JsonValue | undefined) => (answer as { names?: string[] } | undefined)?.names ?? [];
      const reads = (watcher: Watcher, wanted: string[]) =>
        eventually(`${wanted} was told`, () => names(watcher.told.at(-1)).join() === wanted.join());
      const open = (name: string) => watch('Readers/Open', { postId: 'r', name });

      const ada = open('ada');
      await reads(ada, ['ada']);
      const bob = open('bob');
      await Promise.all([reads(ada, ['ada', 'bob']), reads(bob, ['ada', 'bob'])]);
      ada.leave();
      await reads(bob, ['bob']);
      expect(await http('GET', '/posts/r/readers')).toEqual(ok({ names: ['bob'] }));
      bob.leave();
      await eventually(
        'nobody reads any more',
        async () => names(await call('Readers/List', { postId: 'r' })).length === 0,
      );
      await passivate('r');
      expect(await call('Readers/List', { postId: 'r' })).toEqual({});
    });
  }

  it('is as it was after the function was killed and started again, and what was under way happens once', async () => {
    const watcher = streams ? watch('Likes/Watch', { postId: 'e' }) : undefined;
    if (watcher) await counted(watcher, [10]);
    const underWay = Array.from({ length: 20 }, (_, n) => like(`f${n % 2}`));
    await Promise.race(underWay);
    fn.kill();
    await fn.exited;
    fn = await startFunction(scope, { source, port: fn.port });
    await Promise.all(underWay);
    for (const post of ['f0', 'f1']) expect(await likes(post)).toBe(10);
    expect(await likes('e')).toBe(10);
    // Who watched has to call again.
    expect(await watcher?.ended).toBe(streams ? 'UNAVAILABLE' : undefined);
  });

  it('is as it was after the runtime was stopped and started again', async () => {
    await runtime.stop();
    await start();
    expect(await likes('e')).toBe(10);
    expect(await like('e')).toBe(11);
    expect(await call('Reactions/Get', { postId: 'a' })).toEqual({ counts: { grin: 1, heart: 1 } });
    expect(await http('GET', '/posts/a/headline')).toEqual(ok({ text: 'second', author: 'bob' }));
    expect(runtime.status().function).toMatchObject({ up: true, dialect: fn.dialect });
  });
});
