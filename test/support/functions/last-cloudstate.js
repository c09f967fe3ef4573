import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import protobuf from 'protobufjs';

/* What the functions here have in common that speak the last Cloudstate protocol without an SDK. */

// PROTOCOL is the version to tell in discovery, or '' for none.
const { HOST = '127.0.0.1', PORT = '8080', PROTOCOL = '0.2' } = process.env;

const require = createRequire(import.meta.url);
const contracts = path.resolve(import.meta.dirname, '../../../proto');

function load(folder, files, options) {
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) => {
    if (target.startsWith('google/')) return require.resolve(`protobufjs/${target}`);
    return path.join(target.startsWith('cloudstate/') ? contracts : folder, target);
  };
  return root.loadSync(files, options);
}

const wire = load(
  contracts,
  ['entity', 'event_sourced', 'value_entity', 'crdt', 'action'].map((file) => `cloudstate/${file}.proto`),
  { keepCase: true },
);

/** The messages of a .proto file of the function in the folder. */
export function messagesOf(folder, file) {
  const root = load(path.join(folder, 'proto'), [file]);
  const pack = (name, message) => {
    const type = root.lookupType(name);
    return { type_url: `type.googleapis.com/${type.fullName.slice(1)}`, value: type.encode(message).finish() };
  };
  return {
    pack,
    unpack: ({ type_url, value }) =>
      root.lookupType(type_url.slice(type_url.indexOf('/') + 1)).decode(value ?? new Uint8Array()),
    /** A client action. */
    reply: (name, message) => ({ reply: { payload: pack(name, message) } }),
  };
}

export const EMPTY = { reply: { payload: { type_url: 'type.googleapis.com/google.protobuf.Empty' } } };
export const failure = (description, more) => ({ failure: { description, ...more } });

/** The client action of an entity's command, whose failures have the command's id. */
export function answerTo({ id }, action) {
  return action?.failure === undefined ? action : { failure: { command_id: id, ...action.failure } };
}

/**
 * Answers discovery, and what is called. `entities` are those of the spec; `handlers` by the full names of the contract's
 * services.
 */
export function serve({ serviceName, entities, handlers }) {
  const [major, minor] = PROTOCOL.split('.').map(Number);
  const spec = {
    proto: readFileSync('user-function.desc'),
    entities,
    service_info: {
      service_name: serviceName,
      support_library_name: 'none',
      ...(PROTOCOL !== '' && { protocol_major_version: major, protocol_minor_version: minor }),
    },
  };
  const server = new Server();
  server.addService(definitionOf('cloudstate.EntityDiscovery'), {
    discover: (_call, done) => done(null, spec),
    reportError: ({ request }, done) => {
      console.error(`reported: ${request.message}`);
      done(null, {});
    },
  });
  for (const [service, methods] of Object.entries(handlers)) server.addService(definitionOf(service), methods);
  server.bindAsync(`${HOST}:${PORT}`, ServerCredentials.createInsecure(), (error) => {
    if (error !== null) throw error;
  });
}

/** Every method of a service of the contract, for grpc-js. */
function definitionOf(name) {
  const service = wire.lookupService(name);
  return Object.fromEntries(
    service.methodsArray.map((method) => {
      const { resolvedRequestType: request, resolvedResponseType: response } = method.resolve();
      return [
        method.name,
        {
          path: `/${name}/${method.name}`,
          originalName: method.name,
          requestStream: method.requestStream === true,
          responseStream: method.responseStream === true,
          requestDeserialize: (bytes) => request.decode(bytes),
          responseSerialize: (message) => Buffer.from(response.encode(message).finish()),
        },
      ];
    }),
  );
}
