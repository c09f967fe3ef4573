import { expect, it } from 'vitest';
import { concerning, locationOf } from '../../src/protocol/declarations.ts';
import { readDescriptors } from '../../src/protocol/descriptors.ts';
import { kalix } from '../../src/protocol/kalix.ts';
import { loadWire } from '../../src/protocol/wire.ts';
import { compileProtos } from '../support/compile-protos.ts';

const PROTO = `syntax = "proto3";
package shop;
message Order {
  message Line {
    string product = 1;
  }
  string cart = 1;
}
service Cart {
  rpc Add(Order)
    returns (Order);
}
`;
const { registry } = readDescriptors(compileProtos({ 'shop.proto': PROTO }));
const cart = registry.getService('shop.Cart');
const line = registry.getMessage('shop.Order.Line');
if (cart?.methods[0] === undefined || line?.fields[0] === undefined) throw new Error('the .proto file has changed');
const [add] = cart.methods;
const [product] = line.fields;

/** What is thrown while the declarations are looked at, the outermost first. */
function thrownAt(...declarations: Parameters<typeof concerning>[0][]): Error {
  const error = new Error('wrong');
  const work = declarations.reduceRight<() => void>(
    (inner, declaration) => () => concerning(declaration, inner),
    () => {
      throw error;
    },
  );
  expect(work).toThrow(error);
  return error;
}

it.each([
  ['service', [cart], { path: [6, 0], startLine: 8, startColumn: 0, endLine: 11, endColumn: 1 }],
  ['method', [add], { path: [6, 0, 2, 0], startLine: 9, startColumn: 2, endLine: 10, endColumn: 20 }],
  ['field', [product], { path: [4, 0, 3, 0, 2, 0], startLine: 4, startColumn: 4, endLine: 4, endColumn: 23 }],
  ['innermost of what was looked at', [cart, add], { path: [6, 0, 2, 0], startLine: 9 }],
] as const)('an error is placed where the %s stands', (_what, declarations, place) => {
  expect(locationOf(thrownAt(...declarations))).toMatchObject({ file: 'shop.proto', ...place });
});

it('an error that concerns no declaration has no place', () => {
  expect(locationOf(new Error('wrong'))).toBeUndefined();
});

it('a function is told the place with the error', () => {
  const location = locationOf(thrownAt(add));
  const bytes = kalix().encodeError({ code: 'FUNCTION_SPEC', message: 'wrong', detail: '', location });
  const error = loadWire('kalix').lookupType('kalix.protocol.UserFunctionError');
  expect(error.toObject(error.decode(bytes), { arrays: true })).toMatchObject({
    code: 'FUNCTION_SPEC',
    message: 'wrong',
    source_locations: [
      { file_name: 'shop.proto', start_line: 9, start_col: 2, end_line: 10, end_col: 20, proto_path: [6, 0, 2, 0] },
    ],
  });
});
