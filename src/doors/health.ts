import { create } from '@bufbuild/protobuf';
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorProtoSchema,
} from '@bufbuild/protobuf/wkt';
import * as grpc from '@grpc/grpc-js';
import { Reader, Writer } from 'protobufjs/minimal.js';
import { messageOf } from '../errors.ts';
import type { OwnMethod } from './grpc-door.ts';

// grpc.health.v1: HealthCheckRequest.service and HealthCheckResponse.status, as tags.
const SERVICE = 0x0a;
const STATUS = 0x08;
const SERVING = 1;
const NOT_SERVING = 2;
const SERVICE_UNKNOWN = 3;

const { STRING, ENUM } = FieldDescriptorProto_Type;
const { OPTIONAL } = FieldDescriptorProto_Label;

/** What reflection tells of it: the service as its clients know it. */
export const HEALTH_FILE = create(FileDescriptorProtoSchema, {
  name: 'grpc/health/v1/health.proto',
  package: 'grpc.health.v1',
  syntax: 'proto3',
  messageType: [
    { name: 'HealthCheckRequest', field: [{ name: 'service', number: 1, type: STRING, label: OPTIONAL }] },
    {
      name: 'HealthCheckResponse',
      field: [
        {
          name: 'status',
          number: 1,
          type: ENUM,
          label: OPTIONAL,
          typeName: '.grpc.health.v1.HealthCheckResponse.ServingStatus',
        },
      ],
      enumType: [
        {
          name: 'ServingStatus',
          value: [
            { name: 'UNKNOWN', number: 0 },
            { name: 'SERVING', number: SERVING },
            { name: 'NOT_SERVING', number: NOT_SERVING },
            { name: 'SERVICE_UNKNOWN', number: SERVICE_UNKNOWN },
          ],
        },
      ],
    },
  ],
  service: [
    {
      name: 'Health',
      method: ['Check', 'Watch'].map((name) => ({
        name,
        inputType: '.grpc.health.v1.HealthCheckRequest',
        outputType: '.grpc.health.v1.HealthCheckResponse',
        serverStreaming: name === 'Watch',
      })),
    },
  ],
});

/** The state of the function's services, for whoever asks by grpc.health.v1. */
export interface Health {
  readonly methods: readonly OwnMethod[];
  /** Something that `isServing` or `knows` tells has changed. */
  changed(): void;
}

/** `''` stands for all services together. */
export function createHealth(options: { isServing: () => boolean; knows: (service: string) => boolean }): Health {
  const watchers = new Set<() => void>();
  const stateOf = (service: string): number => {
    if (service !== '' && !options.knows(service)) return SERVICE_UNKNOWN;
    return options.isServing() ? SERVING : NOT_SERVING;
  };
  const check: grpc.handleUnaryCall<Buffer, Buffer> = (call, answer) => {
    const service = serviceOf(call.request);
    if (typeof service !== 'string') answer(service);
    else if (stateOf(service) === SERVICE_UNKNOWN) {
      answer({ code: grpc.status.NOT_FOUND, details: `the function has no service ${service}` });
    } else answer(null, encode(stateOf(service)));
  };
  const watch: grpc.handleServerStreamingCall<Buffer, Buffer> = (call) => {
    const service = serviceOf(call.request);
    if (typeof service !== 'string') {
      call.emit('error', service);
      return;
    }
    let told: number | undefined;
    const tell = (): void => {
      const state = stateOf(service);
      if (state !== told) call.write(encode(state));
      told = state;
    };
    watchers.add(tell);
    call.on('cancelled', () => watchers.delete(tell));
    tell();
  };
  return {
    methods: [
      { path: '/grpc.health.v1.Health/Check', type: 'unary', handler: check },
      { path: '/grpc.health.v1.Health/Watch', type: 'serverStream', handler: watch },
    ],
    changed() {
      for (const tell of watchers) tell();
    },
  };
}

function serviceOf(request: Buffer): string | { code: grpc.status; details: string } {
  try {
    const reader = Reader.create(request);
    let service = '';
    while (reader.pos < reader.len) {
      const tag = reader.tag();
      if (tag === SERVICE) service = reader.string();
      else reader.skipType(tag & 7, 0, tag >>> 3);
    }
    return service;
  } catch (error) {
    return { code: grpc.status.INVALID_ARGUMENT, details: `no grpc.health.v1.HealthCheckRequest: ${messageOf(error)}` };
  }
}

function encode(state: number): Buffer {
  return Buffer.from(Writer.create().uint32(STATUS).int32(state).finish());
}
