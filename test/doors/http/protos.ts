/** `google/api/*.proto` as far as the tests need them, by file name: what applications import for their HTTP rules. */
export const GOOGLE_API: Readonly<Record<string, string>> = {
  'google/api/http.proto': `
syntax = "proto3";
package google.api;
message HttpRule {
  string selector = 1;
  oneof pattern {
    string get = 2;
    string put = 3;
    string post = 4;
    string delete = 5;
    string patch = 6;
    CustomHttpPattern custom = 8;
  }
  string body = 7;
  repeated HttpRule additional_bindings = 11;
  string response_body = 12;
}
message CustomHttpPattern { string kind = 1; string path = 2; }
`,
  'google/api/annotations.proto': `
syntax = "proto3";
package google.api;
import "google/api/http.proto";
import "google/protobuf/descriptor.proto";
extend google.protobuf.MethodOptions { HttpRule http = 72295728; }
`,
  'google/api/httpbody.proto': `
syntax = "proto3";
package google.api;
import "google/protobuf/any.proto";
message HttpBody { string content_type = 1; bytes data = 2; repeated google.protobuf.Any extensions = 3; }
`,
};

/** A service with a rule of every kind. */
export const LIBRARY = `
syntax = "proto3";
package library;
import "google/api/annotations.proto";
import "google/api/httpbody.proto";
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/empty.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";

// How a book is bound.
enum Binding {
  UNBOUND = 0;
  PAPER = 1;
  // With a hard cover.
  HARD = 2;
}

message Author { string name = 1; int32 born = 2; }

// A book of the library.
//
// It has all the kinds of fields there are.
message Book {
  // Where it stands.
  string name = 1;
  string long_title = 2;
  int64 copies = 3;
  uint64 sold = 4;
  int32 edition = 5;
  bool lent = 6;
  double price = 7;
  float weight = 8;
  bytes cover = 9;
  Binding binding = 10;
  repeated string tags = 11;
  repeated int32 pages = 12;
  Author author = 13;
  map<string, int64> counts = 14;
  google.protobuf.Timestamp printed = 15;
  google.protobuf.Duration loan = 16;
  google.protobuf.FieldMask mask = 17;
  google.protobuf.StringValue subtitle = 18;
  google.protobuf.Int64Value stock = 19;
  oneof owner {
    string person = 20;
    string school = 21;
  }
  optional int32 rating = 22;
  google.protobuf.Any extra = 23;
  Book sequel = 24;
  repeated Author editors = 25;
  repeated Binding bindings = 26;
  uint32 shelf = 27;
  google.protobuf.BytesValue seal = 28;
  google.protobuf.BoolValue open = 29;
}
message Free { google.protobuf.Struct any = 1; int64 count = 2; }
message Numbers { int64 copies = 1; uint64 sold = 2; double price = 3; string title = 4; }
message Upload { string name = 1; google.api.HttpBody file = 2; string note = 3; }
message Shelf { string id = 1; Book best = 2; repeated string rows = 3; }
message Node { Node next = 1; }

// Books, and the shelves that they are on.
service Library {
  // Finds one book.
  rpc GetBook(Book) returns (Book) {
    option (google.api.http) = {
      get: "/v1/{name=shelves/*/books/*}"
      additional_bindings { get: "/v1/editions/{edition}/{author.name}" }
      additional_bindings { get: "/v1/binding/{binding}/{lent}/{copies}" }
    };
  }
  rpc CreateBook(Book) returns (Book) { option (google.api.http) = { post: "/v1/{name=shelves/*}/books" body: "*" }; }
  rpc SetAuthor(Book) returns (Book) {
    option (google.api.http) = { patch: "/v1/books/{name}/author" body: "author" response_body: "author" };
  }
  rpc SetTags(Book) returns (Book) {
    option (google.api.http) = { put: "/v1/books/{name}/tags" body: "tags" response_body: "tags" };
  }
  rpc DeleteBook(Book) returns (google.protobuf.Empty) {
    option deprecated = true;
    option (google.api.http).delete = "/v1/books/{name}";
  }
  rpc Cancel(Book) returns (Book) { option (google.api.http) = { post: "/v1/books/{name}:cancel" body: "*" }; }
  rpc Reads(Book) returns (Book) { option (google.api.http).get = "/v1/books/{name}"; }
  rpc Popular(Book) returns (Book) { option (google.api.http).get = "/v1/books/popular"; }
  rpc Files(Book) returns (Book) { option (google.api.http).get = "/v1/files/{name=**}"; }
  rpc Search(Book) returns (Book) { option (google.api.http).get = "/v1/search"; }
  rpc Check(Book) returns (Book) { option (google.api.http).custom = { kind: "HEAD" path: "/v1/books/{name}" }; }
  rpc Anything(Book) returns (Book) { option (google.api.http).custom = { kind: "*" path: "/v1/any/*/{name}" }; }
  rpc Move(Free) returns (Free) { option (google.api.http) = { post: "/v1/free" body: "*" }; }
  rpc Count(Numbers) returns (Numbers) { option (google.api.http) = { post: "/v1/numbers" body: "*" }; }
  rpc Deep(Node) returns (Node);
  rpc Page(Shelf) returns (google.api.HttpBody) { option (google.api.http).get = "/v1/pages/{id}"; }
  rpc Store(google.api.HttpBody) returns (google.protobuf.Empty) {
    option (google.api.http) = { post: "/v1/blobs" body: "*" };
  }
  rpc Attach(Upload) returns (Upload) {
    option (google.api.http) = { post: "/v1/uploads/{name}" body: "file" response_body: "file" };
  }
  rpc BestOf(Shelf) returns (Shelf) {
    option (google.api.http) = { get: "/v1/best/{id}" response_body: "best" };
  }
}
service Streams {
  rpc Watch(Shelf) returns (stream Book) { option (google.api.http).get = "/v1/watch/{id}"; }
  rpc Load(stream Book) returns (Shelf) { option (google.api.http) = { post: "/v1/load/{author.name}" body: "*" }; }
  rpc Talk(stream Book) returns (stream Book);
  rpc Download(Shelf) returns (stream google.api.HttpBody) { option (google.api.http).get = "/v1/download/{id}"; }
}
`;
