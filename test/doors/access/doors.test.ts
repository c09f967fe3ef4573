import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import * as grpc from '@grpc/grpc-js';
import { SignJWT } from 'jose';
import { expect, it } from 'vitest';
import type { Scope } from '../../support/scope.ts';
import { openDoors, SECRET } from '../open-doors.ts';
import { annotated } from './annotated.ts';

/* Both doors as they are, on a free port of this host; the runtime behind them is the test. */

const TOKEN = 'the-token-of-shop-1234';
const api = annotated({
  body: `
    rpc Bare(Item) returns (Item);
    rpc Shop(Item) returns (Item) { option (kalix.method).acl = { allow: { service: "shop" } }; }
    rpc Feed(stream Item) returns (Item) { option (kalix.method).acl = { allow: { service: "shop" } }; }
    rpc Talk(stream Item) returns (stream Item) { option (kalix.method).acl = { allow: { service: "shop" } }; }
    rpc Token(Item) returns (Item) { option (kalix.method).jwt = { validate: BEARER_TOKEN }; }
    rpc Both(Item) returns (Item) {
      option (kalix.method).acl = { allow: { service: "shop" } };
      option (kalix.method).jwt = { validate: BEARER_TOKEN };
    }
    rpc Hidden(Item) returns (Item) { option (kalix.method).acl = { deny_code: 5 }; }
  `,
});

async function openAnnotated(t: Scope) {
  const { at, through } = await openDoors(t, { api, services: [{ name: 'shop', token: TOKEN }] });
  const client = new grpc.Client(at, grpc.credentials.createInsecure());
  t.onTestFinished(async () => client.close());

  const identity = (bytes: Buffer): Buffer => bytes;
  const sent = (metadata: Readonly<Record<string, string>>): grpc.Metadata => {
    const made = new grpc.Metadata();
    for (const [key, value] of Object.entries(metadata)) made.add(key, value);
    return made;
  };
  return {
    through,
    grpc: (name: string, metadata: Readonly<Record<string, string>> = {}) =>
      new Promise<string>((resolve) => {
        const done = (error: grpc.ServiceError | null) =>
          resolve(error === null ? 'OK' : (grpc.status[error.code] as string));
        const path = `/app.Api/${name}`;
        client.makeUnaryRequest(path, identity, identity, Buffer.alloc(0), sent(metadata), done);
      }),
    grpcStream: (name: 'Feed' | 'Talk', metadata: Readonly<Record<string, string>> = {}) =>
      new Promise<string>((resolve) => {
        const call = client.makeBidiStreamRequest(`/app.Api/${name}`, identity, identity, sent(metadata));
        call.on('error', () => undefined);
        call.on('status', ({ code }) => resolve(grpc.status[code] as string));
        call.resume();
        call.write(Buffer.alloc(0));
        call.end();
      }),
    http: (name: string, headers: Readonly<Record<string, string | string[]>> = {}) =>
      new Promise<{ status: number; authenticate: string | undefined; text: string }>((resolve, reject) => {
        // A connection that is kept for the next request would hold the doors open.
        const options = { method: 'POST', agent: false, headers: { 'content-type': 'application/json', ...headers } };
        const sending = request(`http://${at}/app.Api/${name}`, options, (response) => {
          text(response).then(
            (body) =>
              resolve({
                status: response.statusCode ?? 0,
                authenticate: response.headers['www-authenticate'],
                text: body,
              }),
            reject,
          );
        });
        sending.on('error', reject);
        sending.end('{}');
      }),
  };
}

const AUTHORIZED = { authorization: `Bearer ${TOKEN}` };

it('know at both doors that a caller is on this host', async (t) => {
  const doors = await openAnnotated(t);
  expect(await doors.grpc('Bare')).toBe('OK');
  expect((await doors.http('Bare')).status).toBe(200);
  expect(doors.through.map(({ peer }) => peer)).toEqual([{ address: '127.0.0.1' }, { address: '127.0.0.1' }]);
});

it('let a service in by its token at both doors, and refuse everybody else there before the function is called', async (t) => {
  const doors = await openAnnotated(t);
  expect(await doors.grpc('Shop')).toBe('PERMISSION_DENIED');
  expect(await doors.grpcStream('Feed')).toBe('PERMISSION_DENIED');
  expect(await doors.grpcStream('Talk')).toBe('PERMISSION_DENIED');
  expect((await doors.http('Shop')).status).toBe(403);
  expect((await doors.http('Hidden')).status).toBe(404);
  expect(doors.through).toEqual([]);
  expect(await doors.grpc('Shop', AUTHORIZED)).toBe('OK');
  expect(await doors.grpcStream('Feed', AUTHORIZED)).toBe('OK');
  expect(await doors.grpcStream('Talk', AUTHORIZED)).toBe('OK');
  expect((await doors.http('Shop', AUTHORIZED)).status).toBe(200);
  expect(doors.through.length).toBe(4);
});

it('drop at both doors what a caller says of itself under reserved keys, and the token that told who it is', async (t) => {
  const doors = await openAnnotated(t);
  const claimed = {
    '_kalix-src': 'self',
    '_Kalix-Src-Svc': 'bank',
    '_kalix-jwt-claim-sub': 'ann',
    'stateferry-door': '1',
    kept: 'yes',
  };
  expect(await doors.grpc('Shop', { ...claimed, ...AUTHORIZED })).toBe('OK');
  expect((await doors.http('Shop', { ...claimed, ...AUTHORIZED })).status).toBe(200);
  for (const { metadata } of doors.through) {
    expect(metadata.filter(({ key }) => /^_kalix-|^stateferry-|^authorization$|^kept$/.test(key))).toEqual([
      { key: 'kept', value: 'yes' },
      { key: '_kalix-src-svc', value: 'shop' },
    ]);
  }
});

it('take two tokens of one call over HTTP, one of the service and one of who stands behind it', async (t) => {
  const doors = await openAnnotated(t);
  const user = new SignJWT({ sub: 'ann' }).setProtectedHeader({ alg: 'HS256' });
  const both = [`Bearer ${TOKEN}`, `Bearer ${await user.sign(Buffer.from(SECRET))}`];
  expect((await doors.http('Both', { authorization: both })).status).toBe(200);
  expect((await doors.http('Both', { authorization: both.slice(0, 1) })).status).toBe(401);
  expect((await doors.http('Both', { authorization: both.slice(1) })).status).toBe(403);
});

it('tell a caller without a token over HTTP which kind is wanted', async (t) => {
  const doors = await openAnnotated(t);
  const answer = await doors.http('Token');
  expect(answer).toEqual({
    status: 401,
    authenticate: 'Bearer',
    text: 'the call needs a bearer token in its authorization',
  });
});
