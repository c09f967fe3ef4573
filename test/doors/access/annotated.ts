import { describeAccess, type MethodAccess } from '../../../src/protocol/describe-access.ts';
import { describeComponent } from '../../../src/protocol/describe-component.ts';
import { readDescriptors } from '../../../src/protocol/descriptors.ts';
import { KALIX_OPTIONS } from '../../../src/protocol/options.ts';
import { compileProtos } from '../../support/compile-protos.ts';

/** The annotations of later SDKs about tokens, which the .proto files of the oldest do not have. */
const LATER = `
  syntax = "proto3";
  package later;
  import "google/protobuf/descriptor.proto";
  extend google.protobuf.ServiceOptions { Options service = 1080; }
  extend google.protobuf.MethodOptions { MethodOptions method = 1080; }
  message Options { Jwt jwt = 5; }
  message MethodOptions { MethodJwt jwt = 3; }
  enum Mode { UNSPECIFIED = 0; BEARER_TOKEN = 1; MESSAGE = 2; }
  message Jwt { Mode validate = 1; repeated string bearer_token_issuer = 3; repeated Claim static_claim = 4; }
  message MethodJwt {
    repeated Mode validate = 1; repeated Mode sign = 2; repeated string bearer_token_issuer = 3; repeated Claim static_claim = 4;
  }
  message Claim { string claim = 1; repeated string value = 2; string pattern = 3; }
`;

/**
 * The service app.Api as discovery would have made it of a .proto file, with the rules of its methods. `head` stands
 * before it, `body` is its own; `later`: with the annotations of later SDKs.
 */
export function annotated(given: {
  readonly body: string;
  readonly head?: string;
  readonly later?: boolean;
  readonly variables?: ReadonlyMap<string, string>;
}) {
  const { body, head = '', later = false, variables = new Map() } = given;
  const text = `
    syntax = "proto3";
    package app;
    import "${later ? 'later' : 'kalix/annotations'}.proto";
    ${head}
    message Item { string id = 1; }
    service Api { ${body} }
  `;
  const descriptors = readDescriptors(compileProtos({ 'app.proto': text, ...(later && { 'later.proto': LATER }) }));
  const component = describeComponent({
    descriptors,
    kind: 'action',
    service: 'app.Api',
    entityType: 'app.Api',
    options: KALIX_OPTIONS,
  });
  const rules = describeAccess({ descriptors, component, options: KALIX_OPTIONS, variables });
  const method = (name: string) => {
    const found = component.methods.get(name);
    if (found === undefined) throw new Error(`there is no method ${name}`);
    return found;
  };
  return {
    descriptors,
    component,
    rules,
    method,
    rule: (name: string): MethodAccess | undefined => rules.get(method(name)),
  };
}
