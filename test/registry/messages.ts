import { createFileRegistry, type DescMessage, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import type { LoadedSchema, SchemaType } from '../../src/registry/schema.ts';
import { compileProtos } from '../support/compile-protos.ts';

const PROTO = `
  syntax = "proto3";
  package shop;
  import "google/protobuf/timestamp.proto";
  import "google/protobuf/wrappers.proto";

  enum Mood {
    MOOD_UNKNOWN = 0;
    MOOD_CALM = 1;
    MOOD_EAGER = 7;
  }

  message Everything {
    string some_text = 1;
    bool flag = 2;
    int32 small = 3;
    sint32 zigzag = 4;
    sfixed32 fixed_small = 5;
    uint32 natural = 6;
    fixed32 fixed_natural = 7;
    int64 large = 8;
    sint64 large_zigzag = 9;
    sfixed64 fixed_large = 10;
    float single = 11;
    double twice = 12;
    bytes data = 13;
    Mood mood = 14;
    Item item = 15;
    repeated int64 numbers = 16;
    repeated Item items = 17;
    repeated Mood moods = 18;
    map<string, Item> by_name = 19;
    map<string, int64> counts = 20;
    optional string maybe_text = 21;
    optional int64 maybe_large = 22;
    google.protobuf.Timestamp at = 23;
    google.protobuf.StringValue wrapped = 24;
    oneof choice {
      string chosen_text = 25;
      int64 chosen_number = 26;
      Item chosen_item = 27;
      Mood chosen_mood = 28;
    }
    Everything again = 29;
    optional Mood maybe_mood = 30;
    map<int32, string> by_number = 31;
    uint64 unsigned_large = 32;
  }

  message Item {
    string name = 1;
    int32 count = 2;
  }

  message Added { Item item = 1; int64 at_ms = 2; }
  message Removed { string name = 1; }

  message Priced {
    string id = 1;
    string price = 2;
    string day = 3;
    google.protobuf.Timestamp at = 4;
    optional string note = 5;
    Kind kind = 6;
    enum Kind { KIND_UNSPECIFIED = 0; KIND_BIG = 1; KIND_SMALL = 2; }
    oneof what { Item item = 7; string text = 8; int64 number = 9; }
    int64 total_cents = 10;
  }

  message Outer {
    message Inner { string text = 1; message Core { int32 n = 1; } }
    Inner inner = 1;
  }
`;

const registry = createFileRegistry(
  fromBinary(FileDescriptorSetSchema, compileProtos({ 'shop/messages.proto': PROTO })),
);

/** A message type of the package `shop`. */
export function shopType(name: string): DescMessage {
  const found = registry.getMessage(`shop.${name}`);
  if (found === undefined) throw new Error(`there is no type shop.${name}`);
  return found;
}

/** All of its types. */
export const shopRegistry = registry;

export function schemaOf(
  type: SchemaType,
  text: string | object,
  imports: LoadedSchema['imports'] = [],
  id = 7,
): LoadedSchema {
  return {
    id,
    type,
    text: typeof text === 'string' ? text : JSON.stringify(text),
    references: [],
    imports,
    missing: [],
  };
}
