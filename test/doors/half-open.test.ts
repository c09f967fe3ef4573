import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import v8 from 'node:v8';
import vm from 'node:vm';
import * as grpc from '@grpc/grpc-js';
import { expect, it } from 'vitest';
import { readDoorTls } from '../../src/certificates.ts';
import { createAuthority, filesOf } from '../support/certificates.ts';
import { eventually } from '../support/processes.ts';
import { annotated } from './access/annotated.ts';
import { openDoors } from './open-doors.ts';

/* Clients that begin something and leave it at that, a thousand of each kind. */

const THOUSAND = 1_000;
/** What a thousand connections that are kept would take many times over. */
const LEVEL_BYTES = 12 * 1024 * 1024;

const api = annotated({ body: 'rpc One(Item) returns (Item); rpc Many(stream Item) returns (Item);' });

v8.setFlagsFromString('--expose-gc');
const collect = vm.runInNewContext('gc') as () => void;
const heap = (): number => {
  collect();
  return process.memoryUsage().heapUsed;
};

/** A head of 24 bytes (RFC 9113, 3.4) and an empty SETTINGS frame; the one of the server is never acknowledged. */
const PREFACE = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
]);
/** The first bytes of a ClientHello that is 512 bytes long (RFC 8446, 4 and 5.1). */
const HELLO = Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 1, 2, 3]);

const HEAD = 'POST /app.Api/One HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n';

it.for<[string, { readonly sends: string | Buffer; readonly tls?: true }]>([
  ['nothing', { sends: '' }],
  ['nothing, where TLS is wanted', { sends: '', tls: true }],
  ['half a TLS handshake', { sends: HELLO, tls: true }],
  ['half a head of HTTP/1.1', { sends: HEAD }],
  ['half a body of HTTP/1.1', { sends: `${HEAD}content-length: 100\r\n\r\n{` }],
  ['half of what HTTP/2 begins with', { sends: PREFACE.subarray(0, 10) }],
  ['what HTTP/2 begins with, and no more', { sends: PREFACE }],
])('a thousand clients that send %s are sent away in time, hold up nobody, and leave nothing', async ([, kind], t) => {
  const doors = await openDoors(t, {
    api,
    tls: kind.tls && (await tlsOf(t)),
    maxConnections: THOUSAND + 10,
    maxCalls: THOUSAND + 10,
    patienceMs: 1_000,
    timeoutMs: 1_000,
  });
  const round = async (): Promise<void> => {
    const sockets = Array.from({ length: THOUSAND }, () => net.connect(doors.port, '127.0.0.1'));
    let gone = 0;
    for (const socket of sockets) {
      socket.on('error', () => undefined);
      socket.on('close', () => gone++);
      socket.resume();
      if (kind.sends.length > 0) socket.write(kind.sends);
    }
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    if (kind.tls === undefined) expect(await call(doors.at)).toBe(200);
    await eventually('all have been sent away', () => gone === THOUSAND);
  };
  await round();
  const before = heap();
  await round();
  await round();
  expect(heap() - before).toBeLessThan(LEVEL_BYTES);
});

it('connections beyond the limit are closed at once, and there is room again when others are gone', async (t) => {
  const doors = await openDoors(t, { api, maxConnections: 20, patienceMs: 60_000 });
  const sockets = Array.from({ length: 100 }, () => net.connect(doors.port, '127.0.0.1'));
  for (const socket of sockets) socket.on('error', () => undefined);
  const open = () => sockets.filter((socket) => !socket.destroyed);
  for (const socket of sockets) socket.resume();
  await eventually('eighty have been sent away', () => open().length === 20);
  await expect(call(doors.at)).rejects.toThrow();
  open()[0]?.destroy();
  await eventually('there is room', () =>
    call(doors.at).then(
      (status) => status === 200,
      () => false,
    ),
  );
  await doors.close();
  await eventually('all are gone', () => open().length === 0);
});

it('streams without an end are bounded: of one message by time, of many by number', async (t) => {
  const doors = await openDoors(t, { api, maxCalls: 100, timeoutMs: 1_500 });
  const begin = (session: http2.ClientHttp2Session, name: string) => {
    const stream = session.request({
      ':method': 'POST',
      ':path': `/app.Api/${name}`,
      'content-type': 'application/grpc',
    });
    stream.on('error', () => undefined);
    stream.resume();
    const ended = new Promise<number>((resolve) => stream.once('close', () => resolve(stream.rstCode ?? 0)));
    return { stream, ended };
  };
  const sessions = Array.from({ length: 10 }, () => http2.connect(`http://${doors.at}`));
  t.onTestFinished(async () => {
    for (const session of sessions) session.destroy();
  });
  const { NGHTTP2_CANCEL, NGHTTP2_REFUSED_STREAM } = http2.constants;

  const once1 = sessions.flatMap((session) => Array.from({ length: 100 }, () => begin(session, 'One')));
  const codes = await Promise.all(once1.map(({ ended }) => ended));
  const cancelled = codes.filter((code) => code === NGHTTP2_CANCEL).length;
  const refused = codes.filter((code) => code === NGHTTP2_REFUSED_STREAM).length;
  expect(cancelled + refused).toBe(THOUSAND);
  // Where it takes longer to begin them all than the first ones may last, others get their places.
  expect(cancelled).toBeGreaterThanOrEqual(200);
  expect(refused).toBeGreaterThan(0);
  expect(await call(doors.at)).toBe(200);

  const many = sessions.flatMap((session) => Array.from({ length: 100 }, () => begin(session, 'Many')));
  let over = 0;
  for (const { ended } of many) void ended.then(() => over++);
  await eventually('nine hundred are refused', () => over === 900);
  await eventually('a hundred are under way', () => doors.through.length === 101);
  // One more is told why, though it does not end its input either.
  const client = new grpc.Client(doors.at, grpc.credentials.createInsecure());
  const same = (bytes: Buffer): Buffer => bytes;
  for (let n = 0; n < 20; n++) {
    const more = client.makeBidiStreamRequest('/app.Api/Many', same, same);
    more.on('error', () => undefined).resume();
    const { code, details } = await new Promise<grpc.StatusObject>((resolve) => more.on('status', resolve));
    expect([grpc.status[code], details]).toEqual(['RESOURCE_EXHAUSTED', expect.stringContaining('doors.maxCalls')]);
  }
  client.close();
  for (const session of sessions) session.destroy();
  await eventually('there is room again', async () => (await call(doors.at)) === 200);
});

it('doors close in time around streams without an end', async (t) => {
  const doors = await openDoors(t, { api });
  const session = http2.connect(`http://${doors.at}`);
  session.on('error', () => undefined);
  const streams = ['One', 'Many', 'Many'].map((name) => {
    const stream = session.request({
      ':method': 'POST',
      ':path': `/app.Api/${name}`,
      'content-type': 'application/grpc',
    });
    stream.on('error', () => undefined);
    return stream;
  });
  await eventually('two are under way', () => doors.through.length === 2);
  await doors.close();
  await eventually('all are gone', () => streams.every(({ closed }) => closed) && session.destroyed);
});

async function call(at: string): Promise<number> {
  const headers = { 'content-type': 'application/json' };
  const sending = http.request(`http://${at}/app.Api/One`, { method: 'POST', agent: false, headers });
  sending.end('{}');
  const [response] = (await once(sending, 'response')) as [http.IncomingMessage];
  response.resume();
  await once(response, 'end');
  return response.statusCode ?? 0;
}

async function tlsOf(t: Parameters<typeof filesOf>[0]) {
  const { certificate, key } = createAuthority().issue({ addresses: ['127.0.0.1'] });
  const { paths } = await filesOf(t, { certificate, key });
  return readDoorTls({ tls: { certificateFile: paths.certificate, keyFile: paths.key } }, []);
}
