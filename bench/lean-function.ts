/**
 * The counter as a function that costs as little as grpc-js allows: dialect Kalix spoken by hand, so that what is
 * measured is the engine and not an SDK. A process of its own; reads HOST, PORT and BENCH_DESCRIPTOR (a file with the
 * descriptor set).
 */
import { readFileSync } from 'node:fs';
import { Server, ServerCredentials, type ServerDuplexStream, type sendUnaryData } from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import { loadWire } from '../src/protocol/wire.ts';
import { COUNTER, ENTITY_TYPE, encodeTotal, INCREASED, int32Field, SERVICE, TOTAL } from './counter.ts';

const { Reader, Writer } = protobuf;
const SNAPSHOT_EVERY = 100;
const EVENT_SOURCED = 'kalix.component.eventsourcedentity.EventSourcedEntities';

type Bytes = Buffer;

const NOTHING = Buffer.alloc(0);

const raw = {
  requestSerialize: (bytes: Bytes) => bytes,
  requestDeserialize: (bytes: Bytes) => bytes,
  responseSerialize: (bytes: Bytes) => bytes,
  responseDeserialize: (bytes: Bytes) => bytes,
};
const unary = (service: string, method: string) => ({
  path: `/${service}/${method}`,
  requestStream: false,
  responseStream: false,
  ...raw,
});

/** Length-delimited field `number` of a message, as a view; empty where it is absent. */
function bytesField(bytes: Uint8Array, number: number): Uint8Array {
  const reader = Reader.create(bytes);
  let found: Uint8Array = NOTHING;
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag === ((number << 3) | 2)) found = reader.bytes();
    else reader.skipType(tag & 7);
  }
  return found;
}

function any(typeUrl: string, value: Uint8Array): Uint8Array {
  return Writer.create().uint32(10).string(typeUrl).uint32(18).bytes(value).finish();
}

function numbered(field: number, value: number): Uint8Array {
  return Writer.create()
    .uint32((field << 3) | 0)
    .int32(value)
    .finish();
}

/** One entity: EventSourcedStreamIn in, EventSourcedStreamOut out. */
function handle(stream: ServerDuplexStream<Bytes, Bytes>): void {
  let id = '';
  let total = 0;
  let sequence = 0;

  const init = (message: Uint8Array): void => {
    id = Buffer.from(bytesField(message, 2)).toString();
    const snapshot = bytesField(message, 3);
    if (snapshot.length === 0) return;
    sequence = int32Field(snapshot, 1);
    total = int32Field(bytesField(bytesField(snapshot, 2), 2), 1);
  };
  const event = (message: Uint8Array): void => {
    sequence = int32Field(message, 1);
    total += int32Field(bytesField(bytesField(message, 2), 2), 1);
  };
  const command = (message: Uint8Array): Bytes => {
    const commandId = int32Field(message, 2);
    const amount = int32Field(bytesField(bytesField(message, 4), 2), 2);
    total += amount;
    sequence += 1;
    const writer = Writer.create().uint32(10).fork().uint32(8).int32(commandId);
    writer
      .uint32(18)
      .fork()
      .uint32(10)
      .fork()
      .uint32(10)
      .bytes(any(TOTAL, encodeTotal(id, total)));
    writer.ldelim().ldelim();
    writer.uint32(34).bytes(any(INCREASED, numbered(1, amount)));
    if (sequence % SNAPSHOT_EVERY === 0) writer.uint32(42).bytes(any(COUNTER, numbered(1, total)));
    return writer.ldelim().finish() as Bytes;
  };

  stream.on('data', (bytes: Bytes) => {
    const reader = Reader.create(bytes);
    const kind = reader.uint32() >>> 3;
    const message = reader.bytes();
    if (kind === 3) stream.write(command(message));
    else if (kind === 2) event(message);
    else if (kind === 1) init(message);
  });
  stream.on('end', () => stream.end());
  // The runtime cancels a stream when it is done with the entity.
  stream.on('error', () => undefined);
}

const wire = loadWire('kalix');
const spec = Buffer.from(
  wire
    .lookupType('kalix.protocol.Spec')
    .encode({
      proto: readFileSync(process.env.BENCH_DESCRIPTOR ?? ''),
      components: [{ component_type: EVENT_SOURCED, service_name: SERVICE, entity: { entity_type: ENTITY_TYPE } }],
      service_info: {
        service_name: 'bench',
        support_library_name: 'bench-lean',
        protocol_major_version: 1,
        protocol_minor_version: 1,
      },
    })
    .finish(),
);
const answer = (bytes: Bytes) => (_call: unknown, done: sendUnaryData<Bytes>) => done(null, bytes);
const empty = answer(NOTHING);

const server = new Server({ 'grpc.max_concurrent_streams': 2 ** 31 - 1 });
const discovery = 'kalix.protocol.Discovery';
server.addService(
  {
    discover: unary(discovery, 'Discover'),
    reportError: unary(discovery, 'ReportError'),
    proxyTerminated: unary(discovery, 'ProxyTerminated'),
    healthCheck: unary(discovery, 'HealthCheck'),
  },
  { discover: answer(spec), reportError: empty, proxyTerminated: empty, healthCheck: empty },
);
server.addService(
  { handle: { path: `/${EVENT_SOURCED}/Handle`, requestStream: true, responseStream: true, ...raw } },
  { handle },
);
server.bindAsync(
  `${process.env.HOST}:${process.env.PORT}`,
  ServerCredentials.createInsecure(),
  (error: Error | null) => {
    if (error !== null) throw error;
  },
);
