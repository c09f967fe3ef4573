import { describe, expect, it } from 'vitest';
import { describeAccess } from '../../../src/protocol/describe-access.ts';
import { CLOUDSTATE_OPTIONS } from '../../../src/protocol/options.ts';
import { annotated } from './annotated.ts';

const ALL = { kind: 'all' };
const INTERNET = { kind: 'internet' };
const SHOP = { kind: 'service', name: 'shop' };

describe('ACLs', () => {
  const { rule } = annotated({
    head: `option (kalix.file).acl = { allow: { service: "of-file" } deny_code: 16 };`,
    body: `
      option (kalix.service).acl = { allow: { service: "of-service" } deny: { principal: INTERNET } deny_code: 5 };
      rpc Bare(Item) returns (Item);
      rpc Own(Item) returns (Item) { option (kalix.method).acl = { allow: { principal: ALL } deny: { service: "shop" } deny_code: 12 }; }
      rpc Code(Item) returns (Item) { option (kalix.method).acl = { allow: { principal: INTERNET } }; }
      rpc Nobody(Item) returns (Item) { option (kalix.method).acl = {}; }
    `,
  });

  it("a method's own counts as a whole", () => {
    expect(rule('Own')).toEqual({ acl: { allow: [ALL], deny: [SHOP], denyCode: 12 } });
  });

  it("a method without one has its service's, and not the file's", () => {
    expect(rule('Bare')).toEqual({
      acl: { allow: [{ kind: 'service', name: 'of-service' }], deny: [INTERNET], denyCode: 5 },
    });
  });

  it('a status that is not given is the enclosing one, and nothing else of it', () => {
    expect(rule('Code')).toEqual({ acl: { allow: [INTERNET], deny: [], denyCode: 5 } });
  });

  it('an empty one is one that lets nobody in', () => {
    expect(rule('Nobody')).toEqual({ acl: { allow: [], deny: [], denyCode: 5 } });
  });

  it("a service without one has the file's; without any the status is PERMISSION_DENIED", () => {
    const file = annotated({
      head: `option (kalix.file).acl = { allow: { service: "*" } };`,
      body: 'rpc Bare(Item) returns (Item);',
    });
    expect(file.rule('Bare')).toEqual({ acl: { allow: [{ kind: 'service', name: '*' }], deny: [], denyCode: 7 } });
  });

  it('without annotations there is no rule to go by', () => {
    expect(annotated({ body: 'rpc Bare(Item) returns (Item);' }).rule('Bare')).toEqual({});
  });

  it('a status that gRPC does not have is refused with the place', () => {
    const body = 'rpc Go(Item) returns (Item) { option (kalix.method).acl = { deny_code: 403 }; }';
    expect(() => annotated({ body })).toThrow(/app\.Api\.Go has the deny_code 403, and gRPC has the codes 1 to 16/);
  });

  it.each(['deny: {}', 'deny: { principal: UNSPECIFIED }', 'allow: { principal: UNSPECIFIED }'])(
    'an entry that names nobody is refused, as it could stand for somebody: %s',
    (entry) => {
      const body = `rpc Go(Item) returns (Item) { option (kalix.method).acl = { ${entry} }; }`;
      expect(() => annotated({ body })).toThrow(/app\.Api\.Go .* names no principal that is known/);
    },
  );

  it('SDKs without such annotations have no rules', () => {
    const { descriptors, component, method } = annotated({
      body: 'rpc Go(Item) returns (Item) { option (kalix.method).acl = {}; }',
    });
    const rules = describeAccess({ descriptors, component, options: CLOUDSTATE_OPTIONS });
    expect(rules.get(method('Go'))).toEqual({});
  });
});

describe('tokens', () => {
  const own = (jwt: string) =>
    annotated({ body: `rpc Go(Item) returns (Item) { option (kalix.method).jwt = { ${jwt} }; }` }).rule('Go');

  it('a method that validates the bearer token wants one, of its issuers', () => {
    expect(own('validate: BEARER_TOKEN')).toEqual({ bearer: { issuers: [], claims: [] } });
    expect(own('validate: BEARER_TOKEN bearer_token_issuer: "a" bearer_token_issuer: "b"')).toEqual({
      bearer: { issuers: ['a', 'b'], claims: [] },
    });
  });

  it('an issuer that is wanted wants a token', () => {
    expect(own('bearer_token_issuer: "a"')).toEqual({ bearer: { issuers: ['a'], claims: [] } });
  });

  it('an annotation that says nothing wants none', () => {
    expect(own('')).toEqual({});
    expect(own('validate: UNSPECIFIED')).toEqual({});
  });

  it('ACL and token of one method are both read', () => {
    const { rule } = annotated({
      body: `rpc Go(Item) returns (Item) {
        option (kalix.method).acl = { allow: { principal: ALL } };
        option (kalix.method).jwt = { validate: BEARER_TOKEN };
      }`,
    });
    expect(rule('Go')).toEqual({
      acl: { allow: [ALL], deny: [], denyCode: 7 },
      bearer: { issuers: [], claims: [] },
    });
  });

  it.each([
    ['validate: MESSAGE', 'wants tokens inside of messages validated'],
    ['validate: BEARER_TOKEN validate: MESSAGE', 'wants tokens inside of messages validated'],
    ['sign: MESSAGE', 'wants tokens signed'],
    ['sign: BEARER_TOKEN', 'wants tokens signed'],
  ])('what is not served is told, and opens nothing: %s', (jwt, unserved) => {
    expect(own(jwt)).toEqual({ unserved });
  });

  const later = annotated({
    later: true,
    variables: new Map([['STAGE', 'live']]),
    body: `
      option (later.service).jwt = {
        validate: BEARER_TOKEN bearer_token_issuer: "of-service" static_claim: { claim: "role" value: "\${STAGE}-admin" }
      };
      rpc Bare(Item) returns (Item);
      rpc Issuer(Item) returns (Item) { option (later.method).jwt = { bearer_token_issuer: "own" }; }
      rpc Claim(Item) returns (Item) { option (later.method).jwt = { static_claim: { claim: "team" value: "a" value: "b" } }; }
      rpc Pattern(Item) returns (Item) { option (later.method).jwt = { static_claim: { claim: "team" pattern: "^a" } }; }
    `,
  });
  const role = { name: 'role', values: ['live-admin'] };

  it("a service's annotation is its methods' too, with the variables of its claims filled in", () => {
    expect(later.rule('Bare')).toEqual({ bearer: { issuers: ['of-service'], claims: [role] } });
  });

  it('what a method does not say, its service says', () => {
    expect(later.rule('Issuer')).toEqual({ bearer: { issuers: ['own'], claims: [role] } });
    expect(later.rule('Claim')).toEqual({
      bearer: { issuers: ['of-service'], claims: [{ name: 'team', values: ['a', 'b'] }] },
    });
  });

  it('a pattern is not served, and opens nothing', () => {
    expect(later.rule('Pattern')).toEqual({ unserved: 'wants the claim team to match a pattern' });
  });

  it('a variable that is not set is refused with the place', () => {
    const body = `rpc Go(Item) returns (Item) { option (later.method).jwt = { static_claim: { claim: "a" value: "\${NONE}" } }; }`;
    expect(() => annotated({ later: true, body })).toThrow(
      /The claim "\$\{NONE\}" of app\.Api\.Go needs the variable NONE/,
    );
  });
});
