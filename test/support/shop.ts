import type { Component, Method } from '../../src/model/component.ts';
import { describeComponent } from '../../src/protocol/describe-component.ts';
import { type Descriptors, readDescriptors } from '../../src/protocol/descriptors.ts';
import { KALIX_OPTIONS } from '../../src/protocol/options.ts';
import { compileProtos } from './compile-protos.ts';

const MESSAGES = `
syntax = "proto3";
package shop;
import "google/protobuf/any.proto";
import "google/protobuf/timestamp.proto";
import "kalix/annotations.proto";

message AddItem {
  string cart_id = 1 [(kalix.field).entity_key = true];
  string product = 2;
  int32 quantity = 3;
  Item item = 4;
  repeated sint64 sizes = 5;
  map<string, Item> labels = 6;
  Mood mood = 7;
  google.protobuf.Any extra = 8;
  google.protobuf.Timestamp at = 9;
  repeated string notes = 10;
  fixed64 serial = 11;
  double price = 12;
  bytes picture = 13;
  repeated fixed32 codes = 14;
  map<int32, bytes> blobs = 15;
  string far = 300;
}

message Item {
  string name = 1;
  Item part = 2;
  float weight = 3;
  oneof origin { string shelf = 4; int64 supplier = 5; }
}

enum Mood { CALM = 0; EAGER = 1; }

message RemoveItem {
  string tenant = 1 [(kalix.field).entity_key = true];
  string product = 2;
  int64 number = 3 [(kalix.field).entity_key = true];
}

message Keyless { string text = 1; }
message Done {}
`;

const SERVICES = `
syntax = "proto3";
package shop;
import "google/protobuf/any.proto";
import "shop/messages.proto";

service Cart {
  rpc Add(AddItem) returns (Done);
  rpc Remove(RemoveItem) returns (Done);
  rpc Blind(Keyless) returns (Done);
  rpc Whatever(google.protobuf.Any) returns (Done);
}

service Watch {
  rpc OnAdd(AddItem) returns (Done);
  rpc OnAny(google.protobuf.Any) returns (Done);
}
`;

const OLD = `
syntax = "proto2";
package old;
message Strict {
  required string id = 1;
  optional group Inner = 2 { optional int32 n = 1; }
  optional string free = 3;
  repeated int32 many = 4;
}
`;

/** A small shop: an entity component `shop.Cart` and an action `shop.Watch`, of a Kalix function. */
export interface Shop {
  readonly descriptors: Descriptors;
  readonly cart: Component;
  readonly watch: Component;
  method(component: Component, name: string): Method;
}

export function createShop(): Shop {
  const descriptors = readDescriptors(
    compileProtos({ 'shop/messages.proto': MESSAGES, 'shop/services.proto': SERVICES, 'old/strict.proto': OLD }),
  );
  const component = (service: string, kind: Component['kind']): Component =>
    describeComponent({ descriptors, kind, service, entityType: service, options: KALIX_OPTIONS });
  return {
    descriptors,
    cart: component('shop.Cart', 'event-sourced'),
    watch: component('shop.Watch', 'action'),
    method: (of, name) => {
      const method = of.methods.get(name);
      if (method === undefined) throw new Error(`the test's ${of.service} has no method ${name}`);
      return method;
    },
  };
}
