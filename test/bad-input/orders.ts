import { compileProtos } from '../support/compile-protos.ts';
import type { ScriptedComponent } from '../support/scripted-function.ts';

/**
 * The function that the tests of this folder script: an event sourced entity, a value entity and an action. A test
 * subscribes them to topics of its own and writes what they answer.
 */
const PROTO = `
syntax = "proto3";
package orders;
import "kalix/annotations.proto";

service OrderService {
  rpc Place(Order) returns (Done);
  rpc Note(Remark) returns (Done);
}
service BoxService {
  rpc Put(BoxOrder) returns (Done);
}
service DeskService {
  rpc Log(Slip) returns (Done);
}

message Order {
  string id = 1 [(kalix.field).entity_key = true];
  string text = 2;
}
// No field of it is an entity key.
message Remark { string text = 1; }
message BoxOrder {
  string id = 1 [(kalix.field).entity_key = true];
  string text = 2;
}
message Slip { string text = 1; }
message Done { string text = 1; }
message Placed { string text = 1; }
`;

export const ORDERS: Uint8Array = compileProtos({ 'orders.proto': PROTO });

export const ORDER_SERVICE = 'orders.OrderService';
export const BOX_SERVICE = 'orders.BoxService';
export const DESK_SERVICE = 'orders.DeskService';

export const COMPONENTS: readonly ScriptedComponent[] = [
  { kind: 'event-sourced', service: ORDER_SERVICE, entityType: 'orders' },
  { kind: 'value', service: BOX_SERVICE, entityType: 'boxes' },
  { kind: 'action', service: DESK_SERVICE },
];

/** Subscriptions of every method to one topic. */
export function subscribeAll(topic: string) {
  return [
    { topic, service: ORDER_SERVICE, method: 'Place' },
    { topic, service: ORDER_SERVICE, method: 'Note' },
    { topic, service: BOX_SERVICE, method: 'Put' },
    { topic, service: DESK_SERVICE, method: 'Log' },
  ];
}

/** The replies of every method to one topic. */
export function replyAll(topic: string) {
  return { replies: subscribeAll('').map(({ service, method }) => ({ service, method, topic })) };
}
