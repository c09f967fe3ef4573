import { beforeAll, describe, expect, it } from 'vitest';
import { type HttpRule, readHttpRules } from '../../../src/doors/http/http-rules.ts';
import { createRouter } from '../../../src/doors/http/router.ts';
import type { Services } from '../../../src/doors/services.ts';
import { library, servicesOf } from './door.ts';

const BROKEN = `
syntax = "proto3";
package broken;
import "google/api/annotations.proto";
message In { string id = 1; repeated string ids = 2; map<string, string> names = 3; In inner = 4; repeated In many = 5; }
message Out { string id = 1; }
service Broken {
  rpc NoField(In) returns (Out) { option (google.api.http).get = "/no-field/{idd}"; }
  rpc Repeated(In) returns (Out) { option (google.api.http).get = "/repeated/{ids}"; }
  rpc IsMap(In) returns (Out) { option (google.api.http).get = "/map/{names}"; }
  rpc IsMessage(In) returns (Out) { option (google.api.http).get = "/message/{inner}"; }
  rpc ThroughList(In) returns (Out) { option (google.api.http).get = "/through/{many.id}"; }
  rpc ThroughText(In) returns (Out) { option (google.api.http).get = "/through/{id.id}"; }
  rpc Twice(In) returns (Out) { option (google.api.http).get = "/twice/{id}/{id}"; }
  rpc Body(In) returns (Out) { option (google.api.http) = { post: "/body" body: "boddy" }; }
  rpc DeepBody(In) returns (Out) { option (google.api.http) = { post: "/body" body: "inner.inner" }; }
  rpc Answer(In) returns (Out) { option (google.api.http) = { get: "/answer" response_body: "ids" }; }
  rpc NoPath(In) returns (Out) {
    option (google.api.http) = { body: "*" additional_bindings { get: "/no-path/{id}" } };
  }
  rpc Kind(In) returns (Out) { option (google.api.http).custom = { kind: "NO VERB" path: "/kind" }; }
  rpc Nested(In) returns (Out) {
    option (google.api.http) = { get: "/nested" additional_bindings { get: "/n" additional_bindings { get: "/nn" } } };
  }
  rpc Good(In) returns (Out) { option (google.api.http).get = "/good/{inner.inner.id}"; }
  rpc Same(In) returns (Out) { option (google.api.http).get = "/good/{id}"; }
}
service Paths {
  rpc Relative(In) returns (Out) { option (google.api.http).get = "relative"; }
  rpc Open(In) returns (Out) { option (google.api.http).get = "/open/{id"; }
  rpc Rest(In) returns (Out) { option (google.api.http).get = "/rest/**/more"; }
  rpc Empty(In) returns (Out) { option (google.api.http).get = "/empty//segment"; }
  rpc Slash(In) returns (Out) { option (google.api.http).get = "/slash/"; }
  rpc Stars(In) returns (Out) { option (google.api.http).get = "/stars/a*b"; }
  rpc After(In) returns (Out) { option (google.api.http).get = "/after/{id}x"; }
  rpc Verb(In) returns (Out) { option (google.api.http).get = "/verb:"; }
  rpc Name(In) returns (Out) { option (google.api.http).get = "/name/{}"; }
  rpc Percent(In) returns (Out) { option (google.api.http).get = "/per%cent"; }
}
`;

let services: Services;
let broken: Services;
beforeAll(() => {
  services = library();
  broken = servicesOf({ 'broken.proto': BROKEN }, ['broken.Broken', 'broken.Paths']);
});

const shown = ({ verb, template, method, body, responseBody }: HttpRule) =>
  `${method.name}: ${verb} ${template.text} body=${typeof body === 'string' ? body : body.name}` +
  `${responseBody === undefined ? '' : ` answer=${responseBody.name}`}`;

describe('google.api.http annotations', () => {
  it('are read with every verb, custom kinds, bodies, response bodies and additional bindings', () => {
    const { rules, faults } = readHttpRules(services);
    expect(faults).toEqual([]);
    expect(rules.filter((rule) => rule.declared).map(shown)).toEqual([
      'GetBook: GET /v1/{name=shelves/*/books/*} body=none',
      'GetBook: GET /v1/editions/{edition}/{author.name} body=none',
      'GetBook: GET /v1/binding/{binding}/{lent}/{copies} body=none',
      'CreateBook: POST /v1/{name=shelves/*}/books body=message',
      'SetAuthor: PATCH /v1/books/{name}/author body=author answer=author',
      'SetTags: PUT /v1/books/{name}/tags body=tags answer=tags',
      'DeleteBook: DELETE /v1/books/{name} body=none',
      'Cancel: POST /v1/books/{name}:cancel body=message',
      'Reads: GET /v1/books/{name} body=none',
      'Popular: GET /v1/books/popular body=none',
      'Files: GET /v1/files/{name=**} body=none',
      'Search: GET /v1/search body=none',
      'Check: HEAD /v1/books/{name} body=none',
      'Anything: * /v1/any/*/{name} body=none',
      'Move: POST /v1/free body=message',
      'Count: POST /v1/numbers body=message',
      'Page: GET /v1/pages/{id} body=none',
      'Store: POST /v1/blobs body=message',
      'Attach: POST /v1/uploads/{name} body=file answer=file',
      'BestOf: GET /v1/best/{id} body=none answer=best',
      'Watch: GET /v1/watch/{id} body=none',
      'Load: POST /v1/load/{author.name} body=message',
      'Download: GET /v1/download/{id} body=none',
    ]);
  });

  it('leave every method at POST /<service>/<method>, also those without one', () => {
    const { rules } = readHttpRules(services);
    const methods = [...services.components.values()].flatMap(({ methods }) => [...methods.values()]);
    expect(rules.filter((rule) => !rule.declared).map(shown)).toEqual(
      methods.map(({ name, component }) => `${name}: POST /${component.service}/${name} body=message`),
    );
  });

  it('that are wrong are told in a sentence each, and the others are served', () => {
    const { rules, faults } = readHttpRules(broken);
    const reasons = faults.map((fault) => /rule of broken\.(\S+) is not served: (.*)\. Correct/.exec(fault)?.slice(1));
    expect(reasons).toEqual([
      ['Broken.NoField', 'GET /no-field/{idd} has the variable {idd}, but broken.In has no field idd'],
      ['Broken.Repeated', 'GET /repeated/{ids} has the variable {ids}, which is repeated'],
      ['Broken.IsMap', 'GET /map/{names} has the variable {names}, but names is a map'],
      ['Broken.IsMessage', 'GET /message/{inner} has the variable {inner}, but inner is a message'],
      ['Broken.ThroughList', 'GET /through/{many.id} has the variable {many.id}, but many is repeated'],
      ['Broken.ThroughText', 'GET /through/{id.id} has the variable {id.id}, but id has no fields'],
      ['Broken.Twice', 'GET /twice/{id}/{id} has the variable {id} twice'],
      ['Broken.Body', 'the body of POST /body is the field boddy, but broken.In has no such field'],
      ['Broken.DeepBody', 'the body of POST /body is the field inner.inner, but broken.In has no such field'],
      ['Broken.Answer', 'the response_body of GET /answer is the field ids, but broken.Out has no such field'],
      ['Broken.NoPath', 'it has no path: one of get, put, post, delete, patch and custom must be there'],
      ['Broken.Kind', 'its custom kind "NO VERB" is not an HTTP verb'],
      ['Broken.Nested', 'GET /n is an additional binding and has some of its own'],
      ['Paths.Relative', 'the path "relative" does not begin with a slash'],
      ['Paths.Open', 'the path "/open/{id" has a { without its }'],
      ['Paths.Rest', 'the path "/rest/**/more" goes on after **, which takes all that is left'],
      ['Paths.Empty', 'the path "/empty//segment" has an empty segment'],
      ['Paths.Slash', 'the path "/slash/" ends with a slash'],
      ['Paths.Stars', 'the path "/stars/a*b" has the segment "a*b", which is neither a text nor * nor **'],
      ['Paths.After', 'the path "/after/{id}x" has something right after a }'],
      ['Paths.Verb', 'the path "/verb:" has nothing after its last colon'],
      ['Paths.Name', 'the path "/name/{}" has a variable {} that names no field'],
      ['Paths.Percent', 'the path "/per%cent" is not validly percent-encoded'],
    ]);
    expect(rules.filter((rule) => rule.declared).map(shown)).toEqual([
      'NoPath: GET /no-path/{id} body=none',
      'Nested: GET /nested body=none',
      'Good: GET /good/{inner.inner.id} body=none',
      'Same: GET /good/{id} body=none',
    ]);
  });

  it('of two methods with the same paths: the first is served, and the other is told', () => {
    const { router, faults } = createRouter(readHttpRules(broken).rules);
    expect(faults).toEqual([
      'GET /good/{id} of broken.Broken.Same is not served: broken.Broken.Good already has GET /good/{inner.inner.id}. ' +
        'Give one of them another path.',
    ]);
    expect(router.match('GET', '/good/x').rule.method.name).toBe('Good');
  });
});
