import { status } from '@grpc/grpc-js';
import { SignJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { createAccess, type WithoutAcl } from '../../../src/doors/access/access.ts';
import { readBearerKey } from '../../../src/doors/access/bearer-keys.ts';
import { createBearers } from '../../../src/doors/access/bearers.ts';
import { createCallers, isLocal } from '../../../src/doors/access/caller.ts';
import { guardCalls } from '../../../src/doors/access/guard-calls.ts';
import { CallFailure, type Calls, type DoorCall } from '../../../src/doors/calls.ts';
import type { Metadata } from '../../../src/model/payload.ts';
import type { CallerKeys } from '../../../src/protocol/dialect.ts';
import { kalix } from '../../../src/protocol/kalix.ts';
import { annotated } from './annotated.ts';

const SECRET = 'a secret of at least thirty-two characters';
const TOKENS = { shop: 'the-token-of-shop-1234', 'shop-eu': 'the-token-of-shop-eu-1', self: 'the-token-of-itself-1' };
const api = annotated({
  body: `
    rpc Bare(Item) returns (Item);
    rpc Stream(stream Item) returns (stream Item) { option (kalix.method).acl = { allow: { service: "shop" } }; }
    rpc All(Item) returns (Item) { option (kalix.method).acl = { allow: { principal: ALL } }; }
    rpc Internet(Item) returns (Item) { option (kalix.method).acl = { allow: { principal: INTERNET } }; }
    rpc Shop(Item) returns (Item) { option (kalix.method).acl = { allow: { service: "shop" } }; }
    rpc Services(Item) returns (Item) { option (kalix.method).acl = { allow: { service: "*" } deny: { service: "*-eu" } }; }
    rpc Nobody(Item) returns (Item) { option (kalix.method).acl = { allow: { principal: ALL } deny: { principal: ALL } }; }
    rpc Hidden(Item) returns (Item) { option (kalix.method).acl = { deny_code: 5 }; }
    rpc Absent(Item) returns (Item) { option (kalix.method).acl = { deny_code: 12 }; }
    rpc Token(Item) returns (Item) { option (kalix.method).jwt = { validate: BEARER_TOKEN }; }
    rpc Both(Item) returns (Item) {
      option (kalix.method).acl = { allow: { service: "shop" } };
      option (kalix.method).jwt = { validate: BEARER_TOKEN };
    }
    rpc Signed(Item) returns (Item) { option (kalix.method).jwt = { sign: MESSAGE }; }
  `,
});

const REPLY = { payload: { typeUrl: 'type.googleapis.com/app.Item', value: new Uint8Array() }, metadata: [] };

/** A door with one caller, and what of its calls went through. */
function door(
  given: {
    withoutAcl?: WithoutAcl;
    hasKeys?: boolean;
    callerKeys?: CallerKeys | undefined;
    address?: string | undefined;
  } = {},
) {
  const { withoutAcl = 'open', hasKeys = true } = given;
  const through: DoorCall[] = [];
  let inputs = 0;
  const calls: Calls = {
    async unary(call) {
      through.push(call);
      return REPLY;
    },
    async *streamed(call, input) {
      through.push(call);
      for await (const _ of input) yield REPLY;
    },
  };
  const keys = [{ id: 'k', algorithm: 'HS256' as const, key: readBearerKey(SECRET, 'HS256') }];
  const guarded = guardCalls(
    calls,
    createAccess({
      rules: api.rules,
      withoutAcl,
      identify: createCallers({
        services: [
          { name: 'shop', token: TOKENS.shop },
          { name: 'shop-eu', token: TOKENS['shop-eu'] },
        ],
        selfToken: TOKENS.self,
      }),
      bearers: createBearers(hasKeys ? keys : []),
      callerKeys: 'callerKeys' in given ? given.callerKeys : kalix().callerKeys,
    }),
  );
  const callOf = (name: string, metadata: Metadata): DoorCall => ({
    method: api.method(name),
    peer: { address: 'address' in given ? given.address : '127.0.0.1' },
    metadata,
    signal: new AbortController().signal,
  });
  const codeOf = (promise: Promise<unknown>): Promise<string> =>
    promise.then(
      () => 'OK',
      (error: unknown) => {
        if (error instanceof CallFailure) return status[error.code] as string;
        throw error;
      },
    );
  return {
    through,
    inputs: () => inputs,
    /** The status of a call, by name. */
    call: (name: string, metadata: Metadata = []) =>
      codeOf(guarded.unary(callOf(name, metadata), () => new Uint8Array())),
    sentence: (name: string, metadata: Metadata = []) =>
      guarded
        .unary(callOf(name, metadata), () => new Uint8Array())
        .then(
          () => '',
          (error: Error) => error.message,
        ),
    stream: (metadata: Metadata = []) => {
      const input = async function* () {
        inputs++;
        yield new Uint8Array();
      };
      const drain = async () => {
        for await (const _ of guarded.streamed(callOf('Stream', metadata), input()));
      };
      return codeOf(drain());
    },
  };
}

const bearer = (token: string): Metadata => [{ key: 'authorization', value: `Bearer ${token}` }];
const jwt = (claims: Record<string, unknown>) =>
  new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(SECRET));

describe('a method with an ACL', () => {
  it.each([
    ['All', 'OK', 'OK', 'OK'],
    ['Internet', 'OK', 'PERMISSION_DENIED', 'PERMISSION_DENIED'],
    ['Shop', 'PERMISSION_DENIED', 'OK', 'PERMISSION_DENIED'],
    ['Services', 'PERMISSION_DENIED', 'OK', 'PERMISSION_DENIED'],
    ['Nobody', 'PERMISSION_DENIED', 'PERMISSION_DENIED', 'PERMISSION_DENIED'],
    ['Hidden', 'NOT_FOUND', 'NOT_FOUND', 'NOT_FOUND'],
    ['Absent', 'UNIMPLEMENTED', 'UNIMPLEMENTED', 'UNIMPLEMENTED'],
  ])('%s: the internet gets %s, the service shop %s, the service shop-eu %s', async (name, internet, shop, eu) => {
    const { call } = door();
    expect(await call(name)).toBe(internet);
    expect(await call(name, bearer('a-token-that-nobody-has'))).toBe(internet);
    expect(await call(name, bearer(TOKENS.shop))).toBe(shop);
    expect(await call(name, bearer(TOKENS['shop-eu']))).toBe(eu);
  });

  it('always lets the function itself in', async () => {
    const { call } = door({ withoutAcl: 'closed' });
    for (const name of ['Bare', 'Nobody', 'Hidden']) expect(await call(name, bearer(TOKENS.self))).toBe('OK');
  });

  it('goes by it alone, whatever holds without one', async () => {
    expect(await door({ withoutAcl: 'closed' }).call('All')).toBe('OK');
    expect(await door({ withoutAcl: 'local', address: '192.0.2.1' }).call('All')).toBe('OK');
  });

  it('that seems to be absent says no more than that', async () => {
    const { sentence } = door();
    expect(await sentence('Hidden')).toBe('not found');
    expect(await sentence('Absent')).toBe('The server does not implement the method /app.Api/Absent');
  });

  it('keeps refused calls from the function, and their input unread', async () => {
    const refusing = door();
    expect(await refusing.call('Shop')).toBe('PERMISSION_DENIED');
    expect(await refusing.stream()).toBe('PERMISSION_DENIED');
    expect(refusing.through).toEqual([]);
    expect(refusing.inputs()).toBe(0);
    expect(await refusing.stream(bearer(TOKENS.shop))).toBe('OK');
    expect(refusing.through.length).toBe(1);
    expect(refusing.inputs()).toBe(1);
  });
});

describe('a method without an ACL', () => {
  it.each([
    ['open', 'OK', 'OK'],
    ['local', 'OK', 'PERMISSION_DENIED'],
    ['closed', 'PERMISSION_DENIED', 'PERMISSION_DENIED'],
  ] as const)('%s: a caller on this host gets %s, any other %s', async (withoutAcl, near, far) => {
    expect(await door({ withoutAcl, address: '::1' }).call('Bare')).toBe(near);
    expect(await door({ withoutAcl, address: '192.0.2.1' }).call('Bare')).toBe(far);
    expect(await door({ withoutAcl, address: undefined }).call('Bare')).toBe(far);
  });

  it('tells which option it is', async () => {
    const { sentence } = door({ withoutAcl: 'local', address: '192.0.2.1' });
    expect(await sentence('Bare')).toBe(
      'app.Api/Bare has no ACL, and only callers on its own host may call such methods (doors.withoutAcl: local)',
    );
  });

  it('that has no rule at all is called by nobody', async () => {
    const access = createAccess({
      rules: new Map(),
      withoutAcl: 'open',
      identify: createCallers({ services: [] }),
      bearers: createBearers([]),
      callerKeys: undefined,
    });
    const call = { method: api.method('Bare'), peer: { address: '::1' }, metadata: [], signal: AbortSignal.abort() };
    await expect(access.admit(call)).rejects.toMatchObject({ code: status.PERMISSION_DENIED });
  });
});

describe('the description of the services', () => {
  it.each([
    ['open', true, true, true],
    ['local', true, false, true],
    ['closed', false, false, true],
  ] as const)(
    '%s: is told to a caller on this host: %s, to any other: %s, to the function itself: %s',
    (withoutAcl, near, far, self) => {
      const access = createAccess({
        rules: new Map(),
        withoutAcl,
        identify: createCallers({ services: [], selfToken: TOKENS.self }),
        bearers: createBearers([]),
        callerKeys: undefined,
      });
      const isTold = (address: string, metadata: Metadata = []): boolean => {
        try {
          access.mustBeTold({ peer: { address }, metadata });
          return true;
        } catch (error) {
          expect(error).toMatchObject({ code: status.PERMISSION_DENIED });
          return false;
        }
      };
      expect([isTold('::1'), isTold('192.0.2.1'), isTold('192.0.2.1', bearer(TOKENS.self))]).toEqual([near, far, self]);
    },
  );
});

describe('a method that wants a token', () => {
  it('lets in who has one, and nobody without a key that verifies it', async () => {
    const good = bearer(await jwt({ sub: 'ann' }));
    expect(await door().call('Token', good)).toBe('OK');
    expect(await door().call('Token')).toBe('UNAUTHENTICATED');
    expect(await door({ hasKeys: false }).call('Token', good)).toBe('UNAUTHENTICATED');
    expect(await door().call('Token', bearer(TOKENS.self))).toBe('UNAUTHENTICATED');
  });

  it("asks for a bearer token in a header, as HTTP's 401 has to", async () => {
    await expect(
      guardCalls({} as Calls, {
        admit: () => createBearers([]).verify([], { issuers: [], claims: [] }) as never,
        mustBeTold: () => undefined,
      }).unary({} as DoorCall, () => new Uint8Array()),
    ).rejects.toMatchObject({ metadata: [{ key: 'www-authenticate', value: 'Bearer' }] });
  });

  it('and has an ACL wants both, each in an authorization of its own', async () => {
    const good = bearer(await jwt({}));
    expect(await door().call('Both', good)).toBe('PERMISSION_DENIED');
    expect(await door().call('Both', bearer(TOKENS.shop))).toBe('UNAUTHENTICATED');
    expect(await door().call('Both', [...bearer(TOKENS.shop), ...good])).toBe('OK');
  });

  it('still goes by what holds without an ACL', async () => {
    const good = bearer(await jwt({}));
    expect(await door({ withoutAcl: 'local', address: '192.0.2.1' }).call('Token', good)).toBe('PERMISSION_DENIED');
  });

  it('and asks for what is not served refuses every call', async () => {
    expect(await door().call('Signed')).toBe('UNIMPLEMENTED');
    expect(await door().call('Signed', bearer(await jwt({})))).toBe('UNIMPLEMENTED');
  });
});

describe('the function is told', () => {
  const toldBy = async (name: string, metadata: Metadata, given = {}) => {
    const { call, through } = door(given);
    expect(await call(name, metadata)).toBe('OK');
    return through[0]?.metadata;
  };

  it('that the internet calls, after what the caller said', async () => {
    expect(await toldBy('Bare', [{ key: 'a', value: 'b' }])).toEqual([
      { key: 'a', value: 'b' },
      { key: '_kalix-src', value: 'internet' },
    ]);
  });

  it('which service calls, without its token', async () => {
    expect(await toldBy('Shop', [{ key: 'a', value: 'b' }, ...bearer(TOKENS.shop)])).toEqual([
      { key: 'a', value: 'b' },
      { key: '_kalix-src-svc', value: 'shop' },
    ]);
  });

  it('that it calls itself, without its token', async () => {
    expect(await toldBy('Bare', bearer(TOKENS.self))).toEqual([{ key: '_kalix-src', value: 'self' }]);
  });

  it('the claims of a token that was verified: texts as they are, all else as JSON', async () => {
    const given = bearer(await jwt({ sub: 'ann', exp: 4_000_000_000, roles: ['a', 'b'], deep: { x: 1 } }));
    // And not the token itself, which would be journaled.
    expect(await toldBy('Token', [{ key: 'authorization', value: 'Basic x' }, ...given])).toEqual([
      { key: 'authorization', value: 'Basic x' },
      { key: '_kalix-jwt-claim-sub', value: 'ann' },
      { key: '_kalix-jwt-claim-exp', value: '4000000000' },
      { key: '_kalix-jwt-claim-roles', value: '["a","b"]' },
      { key: '_kalix-jwt-claim-deep', value: '{"x":1}' },
      { key: '_kalix-src', value: 'internet' },
    ]);
  });

  it('no claims of a token that nothing asked for', async () => {
    const given = bearer(await jwt({ sub: 'eve' }));
    expect(await toldBy('Bare', given)).toEqual([...given, { key: '_kalix-src', value: 'internet' }]);
  });

  it('nothing where its SDK does not look for it, and still not the token', async () => {
    expect(await toldBy('Shop', bearer(TOKENS.shop), { callerKeys: undefined })).toEqual([]);
  });
});

describe('a caller is known', () => {
  const identify = createCallers({ services: [{ name: 'shop', token: 'abcdefghijklmnop==' }] });
  const who = (value: string | Uint8Array, key = 'authorization') =>
    identify({ metadata: [{ key, value }], peer: { address: undefined } }).identity;

  it.each(['Bearer abcdefghijklmnop==', 'bearer   abcdefghijklmnop== ', 'BEARER abcdefghijklmnop=='])(
    'by %s',
    (value) => {
      expect(who(value)).toEqual({ kind: 'service', name: 'shop' });
      expect(who(value, 'Authorization')).toEqual({ kind: 'service', name: 'shop' });
    },
  );

  it.each([
    'abcdefghijklmnop==',
    'Basic abcdefghijklmnop==',
    'Bearer abcdefghijklmnop',
    'Bearer abcdefghijklmnop===',
    'Bearer ABCDEFGHIJKLMNOP==',
    'Bearer abcdefghijklmnop== x',
    'Bearer ',
    '',
  ])('not by %j', (value) => {
    expect(who(value)).toEqual({ kind: 'internet' });
  });

  it('not by bytes, nor by another key', () => {
    expect(who(Buffer.from('Bearer abcdefghijklmnop=='))).toEqual({ kind: 'internet' });
    expect(who('Bearer abcdefghijklmnop==', 'proxy-authorization')).toEqual({ kind: 'internet' });
  });

  it.each(['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1'])('to be on this host by %s', (address) => {
    expect(isLocal({ address })).toBe(true);
  });

  it.each(['128.0.0.1', '10.0.0.1', '::', '::2', '::ffff:10.0.0.1', 'localhost', '', undefined])(
    'to be elsewhere, or nowhere, by %s',
    (address) => {
      expect(isLocal({ address })).toBe(false);
    },
  );
});
