import { execFile } from 'node:child_process';
import { once } from 'node:events';
import http2 from 'node:http2';
import https from 'node:https';
import net from 'node:net';
import { text } from 'node:stream/consumers';
import tls from 'node:tls';
import { promisify } from 'node:util';
import * as grpc from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { readDoorTls } from '../../src/certificates.ts';
import type { DoorTlsConfig } from '../../src/config/tls.ts';
import type { KnownService } from '../../src/doors/access/caller.ts';
import { namesOf } from '../../src/doors/peer.ts';
import { type Certified, createAuthority, filesOf } from '../support/certificates.ts';
import type { Scope } from '../support/scope.ts';
import { annotated } from './access/annotated.ts';
import { openDoors } from './open-doors.ts';

const api = annotated({
  body: `
    rpc Bare(Item) returns (Item);
    rpc Shop(Item) returns (Item) { option (kalix.method).acl = { allow: { service: "shop" } }; }
    rpc Internet(Item) returns (Item) { option (kalix.method).acl = { allow: { principal: INTERNET } }; }
  `,
});
const authority = createAuthority();
const stranger = createAuthority('Another CA');
const DOOR = authority.issue({ commonName: 'door', dnsNames: ['localhost'], addresses: ['127.0.0.1'] });
const SHOP = authority.issue({ commonName: 'ignored', dnsNames: ['other.internal', 'Shop.internal'] });
const TOKEN = 'the-token-of-shop-1234';
const SERVICES: readonly KnownService[] = [
  { name: 'shop', certificateName: 'shop.internal' },
  { name: 'mart', certificateName: 'mart' },
  { name: 'bank', token: TOKEN },
];

/** Doors with TLS by files of the test's own. */
async function openTls(t: Scope, wanted: Partial<DoorTlsConfig> & { readonly mutual?: true } = {}) {
  const { mutual, ...config } = wanted;
  const { paths, write } = await filesOf(t, {
    'door.pem': DOOR.certificate,
    'door.key': DOOR.key,
    'clients.pem': authority.certificate,
  });
  const faults: string[] = [];
  const files: DoorTlsConfig = { certificateFile: paths['door.pem'], keyFile: paths['door.key'], ...config };
  if (mutual) files.clientCaFile = paths['clients.pem'];
  const read = readDoorTls({ tls: files }, faults);
  expect(faults).toEqual([]);
  return { ...(await openDoors(t, { api, services: SERVICES, tls: read })), write };
}

interface As {
  /** Whom the client trusts. */
  readonly ca?: string;
  readonly certified?: Certified;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The status of a call by gRPC, and its sentence. */
function byGrpc(at: string, name: string, { ca = authority.certificate, certified, headers = {} }: As = {}) {
  const bytes = (pem: string | undefined) => (pem === undefined ? null : Buffer.from(pem));
  const client = new grpc.Client(
    at,
    grpc.credentials.createSsl(Buffer.from(ca), bytes(certified?.key), bytes(certified?.certificate)),
  );
  const sent = new grpc.Metadata();
  for (const [key, value] of Object.entries(headers)) sent.add(key, value);
  const same = (value: Buffer): Buffer => value;
  return new Promise<string>((resolve) => {
    client.makeUnaryRequest(`/app.Api/${name}`, same, same, Buffer.alloc(0), sent, (error) => {
      client.close();
      resolve(error === null ? 'OK' : `${grpc.status[error.code]}: ${error.details}`);
    });
  });
}

/** The HTTP status of a call over HTTPS and HTTP/1.1, or what went wrong. */
async function byHttps(at: string, name: string, { ca = authority.certificate, certified, headers = {} }: As = {}) {
  const request = https.request(`https://${at}/app.Api/${name}`, {
    method: 'POST',
    agent: false,
    ca,
    ...(certified !== undefined && { cert: certified.certificate, key: certified.key }),
    headers: { 'content-type': 'application/json', ...headers },
  });
  request.end('{}');
  try {
    const [response] = await once(request, 'response');
    await text(response);
    return response.statusCode as number;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
}

describe('a port with TLS', () => {
  it('serves gRPC, HTTP/1.1 and HTTP/2, and what is local stays so', async (t) => {
    const doors = await openTls(t);
    expect(await byGrpc(doors.at, 'Bare')).toBe('OK');
    expect(await byHttps(doors.at, 'Bare')).toBe(200);
    const session = http2.connect(`https://${doors.at}`, { ca: authority.certificate });
    t.onTestFinished(async () => session.destroy());
    const stream = session.request({ ':path': '/app.Api/Bare', ':method': 'POST', 'content-type': 'application/json' });
    stream.end('{}');
    const [headers] = await once(stream, 'response');
    expect([headers[':status'], await text(stream)]).toEqual([200, '{"id":""}']);
    expect(doors.through.map(({ peer }) => peer)).toEqual(Array(3).fill({ address: '127.0.0.1' }));
  });

  it('takes HTTP/1.1 of a client that names no protocol, and TLS 1.2 at the least', async (t) => {
    const { port } = await openTls(t);
    const talk = async (options: tls.ConnectionOptions) => {
      const socket = tls.connect({ port, host: '127.0.0.1', ca: authority.certificate, ...options });
      socket.end('GET /openapi.json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
      return text(socket);
    };
    expect(await talk({})).toMatch(/^HTTP\/1.1 200 OK/);
    expect(await talk({ maxVersion: 'TLSv1.2' })).toMatch(/^HTTP\/1.1 200 OK/);
    await expect(talk({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' })).rejects.toThrow(
      /alert protocol version/,
    );
  });

  it('closes a connection that speaks clear text, and says why', async (t) => {
    const doors = await openTls(t);
    for (const words of ['GET / HTTP/1.1\r\nhost: x\r\n\r\n', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', '\0\0\0\0\0\0\0\0']) {
      const socket = net.connect(doors.port, '127.0.0.1');
      socket.on('error', () => undefined);
      socket.write(words);
      await once(socket, 'close');
    }
    expect(doors.events).toHaveLength(3);
    expect(doors.events[0]).toContain('http request');
    expect(await byGrpc(doors.at, 'Bare')).toBe('OK');
  });

  it('is refused by clients that trust another CA, or look for another name', async (t) => {
    const doors = await openTls(t);
    expect(await byGrpc(doors.at, 'Bare', { ca: stranger.certificate })).toMatch(/^UNAVAILABLE: .*(unable|self).*cert/);
    expect(await byHttps(doors.at, 'Bare', { ca: stranger.certificate })).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE');
    expect(await byHttps(`127.1.2.3:${doors.port}`, 'Bare')).toMatch(/ERR_TLS_CERT_ALTNAME_INVALID|ECONNREFUSED/);
    expect(doors.through).toEqual([]);
  });

  it('is called by curl over HTTP/2 and HTTP/1.1', async (t) => {
    const doors = await openTls(t);
    const { paths } = await filesOf(t, { 'ca.pem': authority.certificate });
    const curl = async (version: string) => {
      const given = ['-s', version, '--cacert', paths['ca.pem'], '-w', ' %{http_version}', '-d', '{"id":"x"}'];
      const json = ['-H', 'content-type: application/json'];
      const { stdout } = await promisify(execFile)('curl', [...given, ...json, `https://${doors.at}/app.Api/Bare`]);
      return stdout;
    };
    const known = await promisify(execFile)('curl', ['--version']).catch(() => undefined);
    if (!known?.stdout.includes('HTTP2')) return t.skip('there is no curl here that speaks HTTP/2');
    expect(await curl('--http1.1')).toBe('{"id":""} 1.1');
    expect(await curl('--http2')).toBe('{"id":""} 2');
  });
});

describe('grpcurl', () => {
  it('lists, describes and calls by reflection in TLS, with a certificate of its own', async (t) => {
    const run = async (...given: string[]) => (await promisify(execFile)('grpcurl', given)).stdout;
    if ((await run('-version').catch(() => undefined)) === undefined) return t.skip('there is no grpcurl here');
    const doors = await openTls(t, { mutual: true });
    const { paths } = await filesOf(t, { ca: authority.certificate, cert: SHOP.certificate, key: SHOP.key });
    const safely = ['-cacert', paths.ca, '-cert', paths.cert, '-key', paths.key];
    expect(await run(...safely, doors.at, 'list')).toContain('app.Api\ngrpc.health.v1.Health\n');
    expect(await run(...safely, doors.at, 'describe', 'grpc.health.v1.Health')).toContain('rpc Watch');
    expect(JSON.parse(await run(...safely, '-d', '{"id":"x"}', doors.at, 'app.Api/Shop'))).toEqual({});
    const health = await run(...safely, '-d', '{"service":"app.Api"}', doors.at, 'grpc.health.v1.Health/Check');
    expect(JSON.parse(health)).toEqual({ status: 'SERVING' });
  });
});

describe('a port that wants certificates of clients', () => {
  it('serves who has one of its CA, and nobody else', async (t) => {
    const doors = await openTls(t, { mutual: true });
    expect(await byGrpc(doors.at, 'Bare', { certified: SHOP })).toBe('OK');
    expect(await byHttps(doors.at, 'Bare', { certified: SHOP })).toBe(200);
    expect(doors.events).toEqual([]);
    const expired = authority.issue({ dnsNames: ['shop.internal'], lastsMs: -1_000 });
    const forged = stranger.issue({ dnsNames: ['shop.internal'] });
    for (const certified of [undefined, expired, forged]) {
      const as = certified === undefined ? {} : { certified };
      expect(await byGrpc(doors.at, 'Bare', as)).toMatch(/^UNAVAILABLE/);
      expect(await byHttps(doors.at, 'Bare', as)).toMatch(/ECONNRESET|EPIPE/);
    }
    expect(new Set(doors.events)).toEqual(
      new Set([
        'refused: the client has no certificate',
        'refused: the certificate of the client is not taken: CERT_HAS_EXPIRED',
        expect.stringMatching(/refused: the certificate of the client is not taken: UNABLE_TO_/),
      ]),
    );
    expect(doors.through).toHaveLength(2);
  });

  it.for(['TLSv1.2', 'TLSv1.3'] as const)(
    'knows who takes up a session of %s again, and lets nobody in by one that it refused',
    async (version, t) => {
      const doors = await openTls(t, { mutual: true });
      /** What the doors answer to a connection, and the session that it may be taken up by. */
      const connect = async (certified: Certified | undefined, session: Buffer | undefined) => {
        const socket = tls.connect({
          port: doors.port,
          host: '127.0.0.1',
          ca: authority.certificate,
          maxVersion: version,
          ...(certified !== undefined && { cert: certified.certificate, key: certified.key }),
          ...(session !== undefined && { session }),
        });
        let next: Buffer | undefined;
        let reused = false;
        socket.on('secureConnect', () => {
          reused = socket.isSessionReused();
        });
        socket.on('session', (found) => {
          next = found;
        });
        const head = 'POST /app.Api/Shop HTTP/1.1\r\nhost: x\r\nconnection: close\r\n';
        socket.end(`${head}content-type: application/json\r\ncontent-length: 2\r\n\r\n{}`);
        const answer = await text(socket).catch(() => 'broken off');
        return { status: /^HTTP\/1.1 (\d+)/.exec(answer)?.[1], reused, session: next };
      };
      const first = await connect(SHOP, undefined);
      expect(first).toMatchObject({ status: '200', session: expect.any(Buffer) });
      expect(await connect(SHOP, first.session)).toMatchObject({ status: '200', reused: true });
      for (const certified of [undefined, stranger.issue({ dnsNames: ['shop.internal'] })]) {
        let { status, session } = await connect(certified, undefined);
        expect(status).toBeUndefined();
        ({ status, session } = await connect(certified, session));
        expect(status).toBeUndefined();
      }
    },
  );

  it('may leave it to them, and refuses a bad one all the same', async (t) => {
    const doors = await openTls(t, { mutual: true, clientCertificates: 'optional' });
    expect(await byGrpc(doors.at, 'Bare')).toBe('OK');
    expect(await byHttps(doors.at, 'Bare')).toBe(200);
    expect(await byHttps(doors.at, 'Bare', { certified: stranger.issue({}) })).toMatch(/ECONNRESET|EPIPE/);
  });

  it('knows services by the names in their certificates, and tells the function', async (t) => {
    const doors = await openTls(t, { mutual: true, clientCertificates: 'optional' });
    const common = authority.issue({ commonName: 'shop.internal' });
    const cases: readonly [As, string, number][] = [
      [{ certified: SHOP }, 'OK', 200],
      [{ certified: common }, 'OK', 200],
      // Its common name counts for nothing beside a DNS name.
      [{ certified: authority.issue({ commonName: 'shop.internal', dnsNames: ['x'] }) }, 'PERMISSION_DENIED', 403],
      [{ certified: authority.issue({ commonName: 'mart' }) }, 'PERMISSION_DENIED', 403],
      [{}, 'PERMISSION_DENIED', 403],
      // A token says more than the connection that it comes by.
      [{ certified: SHOP, headers: { authorization: `Bearer ${TOKEN}` } }, 'PERMISSION_DENIED', 403],
    ];
    for (const [as, code, status] of cases) {
      expect(await byGrpc(doors.at, 'Shop', as)).toMatch(new RegExp(`^${code}`));
      expect(await byHttps(doors.at, 'Shop', as)).toBe(status);
    }
    expect(doors.through).toHaveLength(4);
    for (const { metadata } of doors.through) expect(metadata).toContainEqual({ key: '_kalix-src-svc', value: 'shop' });
  });

  it('takes for the internet whose certificate has a name that is no service', async (t) => {
    const doors = await openTls(t, { mutual: true });
    const nobody = authority.issue({ commonName: 'nobody' });
    expect(await byGrpc(doors.at, 'Internet', { certified: nobody })).toBe('OK');
    expect(await byGrpc(doors.at, 'Internet', { certified: SHOP })).toMatch(/^PERMISSION_DENIED/);
  });
});

describe('the names of a certificate', () => {
  it.each([
    ['DNS:a.internal, DNS:B', { CN: 'c' }, ['a.internal', 'B']],
    ['IP Address:127.0.0.1', { CN: 'c' }, ['c']],
    [undefined, { CN: 'c' }, ['c']],
    [undefined, { CN: ['c', 'd'] }, []],
    [undefined, {}, []],
    // One name that has been made to look like two.
    ['DNS:"a, DNS:shop"', { O: 'x' }, []],
    ['URI:"http://x/, DNS:shop", DNS:a', { CN: 'c' }, ['a']],
  ])('of %j and %j are %j', (subjectaltname, subject, names) => {
    expect(namesOf({ subjectaltname, subject } as unknown as tls.PeerCertificate)).toEqual(names);
  });
});

describe('files that change', () => {
  const served = async (port: number) => {
    const socket = tls.connect({ port, host: '127.0.0.1', ca: authority.certificate });
    await once(socket, 'secureConnect');
    const { subject } = socket.getPeerCertificate();
    return { socket, name: subject.CN };
  };

  it('are served to new connections, and connections that are there go on', async (t) => {
    const doors = await openTls(t);
    const before = await served(doors.port);
    const next = authority.issue({ commonName: 'next', addresses: ['127.0.0.1'] });
    await doors.write('door.pem', next.certificate);
    await doors.write('door.key', next.key);
    await doors.told('renewed');
    const after = await served(doors.port);
    expect([before.name, after.name]).toEqual(['door', 'next']);
    before.socket.end('GET /openapi.json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
    expect(await text(before.socket)).toMatch(/^HTTP\/1.1 200 OK/);
    after.socket.destroy();
    expect(doors.events).toEqual(['renewed']);
  });

  it('and are broken leave those before, and are told once', async (t) => {
    const doors = await openTls(t);
    await doors.write('door.pem', 'no certificate');
    await doors.told('broken: doors.tls.certificateFile: found no certificate in');
    const { socket, name } = await served(doors.port);
    socket.destroy();
    expect(name).toBe('door');
    const late = authority.issue({ lastsMs: -1 });
    await doors.write('door.key', late.key);
    await doors.write('door.pem', late.certificate);
    await doors.told('a certificate that expired on');
    await doors.write('door.key', DOOR.key);
    await doors.told('the key of another certificate');
    expect(doors.events.filter((event) => event.startsWith('broken'))).toHaveLength(3);
    expect(await byGrpc(doors.at, 'Bare')).toBe('OK');
  });

  it('and no longer trust a client refuse it', async (t) => {
    const doors = await openTls(t, { mutual: true });
    expect(await byGrpc(doors.at, 'Shop', { certified: SHOP })).toBe('OK');
    await doors.write('clients.pem', stranger.certificate);
    await doors.told('renewed');
    expect(await byGrpc(doors.at, 'Shop', { certified: SHOP })).toMatch(/^UNAVAILABLE/);
  });
});

describe('clear text beside TLS', () => {
  it('is for this host, at a port of its own', async (t) => {
    const doors = await openTls(t, { mutual: true, plainPort: 0 });
    expect(doors.plainAt).toMatch(/^127\.0\.0\.1:/);
    const answer = await fetch(`http://${doors.plainAt}/app.Api/Bare`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    });
    expect(answer.status).toBe(200);
    const client = new grpc.Client(doors.plainAt, grpc.credentials.createInsecure());
    const same = (value: Buffer): Buffer => value;
    const error = await new Promise((resolve) => {
      client.makeUnaryRequest('/app.Api/Bare', same, same, Buffer.alloc(0), resolve);
    });
    client.close();
    expect(error).toBeNull();
  });
});
