import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import protobuf from 'protobufjs';

// What each method does stands in proto/mart.proto. PROTOCOL is the version to tell in discovery, or '' for none.
const { HOST = '127.0.0.1', PORT = '8080', PROTOCOL = '0.2', WATCH = '' } = process.env;
const SNAPSHOT_EVERY = 5;

const require = createRequire(import.meta.url);
const contracts = path.resolve(import.meta.dirname, '../../../../proto');

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
  ['entity', 'event_sourced', 'value_entity', 'action'].map((file) => `cloudstate/${file}.proto`),
  { keepCase: true },
);
const mart = load(path.join(import.meta.dirname, 'proto'), ['mart.proto']);

const pack = (name, message) => {
  const type = mart.lookupType(name);
  return { type_url: `type.googleapis.com/${type.fullName.slice(1)}`, value: type.encode(message).finish() };
};
const unpack = ({ type_url, value }) =>
  mart.lookupType(type_url.slice(type_url.indexOf('/') + 1)).decode(value ?? new Uint8Array());

const reply = (name, message) => ({ reply: { payload: pack(name, message) } });
const failure = (description, more) => ({ failure: { description, ...more } });
const EMPTY = { reply: { payload: { type_url: 'type.googleapis.com/google.protobuf.Empty' } } };

/** Handlers give `{ action, events }`. */
const cart = {
  Add: ({ item }) =>
    item.quantity > 0
      ? { action: EMPTY, events: [{ item }] }
      : { action: failure(`Cannot add ${item.quantity} of ${item.product}.`) },
  AddAll: ({ items }) => ({ action: EMPTY, events: items.map((item) => ({ item })) }),
  Drop: () => ({
    action: failure('dropped as told', { restart: true }),
    events: [{ item: { product: 'lost', quantity: 1 } }],
  }),
  Look: (_request, items) => ({ action: reply('mart.CartContents', { items }) }),
  Shrug: () => ({}),
};

/** Handlers give `{ action, state }`; `state: null` deletes. */
const counter = {
  Increase: ({ amount }, value) => ({
    action: reply('mart.CounterValue', { value: value + amount }),
    state: value + amount,
  }),
  Read: (_request, value) => ({ action: reply('mart.CounterValue', { value }) }),
  Reset: () => ({ action: EMPTY, state: null }),
};

const increase = ({ counter: name, amount }) => ({
  service_name: 'mart.Counter',
  command_name: 'Increase',
  payload: pack('mart.IncreaseBy', { counter: name, amount }),
});

/** One response to one command; Gather and Repeat have more of the one or the other. */
const desk = {
  Echo: ({ text }) => (text === '' ? failure('There is nothing to echo.') : reply('mart.Note', { text })),
  Shout: ({ text }) => reply('mart.Note', { text: text.toUpperCase() }),
  PassOn: (order) => ({ forward: increase(order) }),
  Tally: (order) => ({
    ...reply('mart.Note', { text: order.counter }),
    side_effects: [{ ...increase(order), synchronous: order.synchronous }],
  }),
};

/** The stream of one cart. */
function handleCart(stream) {
  let items = [];
  let sequence = 0;
  const apply = (event) => {
    items = [...items, event.item];
    sequence += 1;
  };
  stream.on('data', ({ init, event, command }) => {
    if (init !== null) {
      if (init.snapshot !== null) {
        items = unpack(init.snapshot.snapshot).items;
        sequence = Number(init.snapshot.snapshot_sequence);
      }
    } else if (event !== null) {
      apply(unpack(event.payload));
    } else {
      const { action, events = [] } = cart[command.name](unpack(command.payload), items);
      let snapshot;
      for (const added of events) {
        apply(added);
        if (sequence % SNAPSHOT_EVERY === 0) snapshot = true;
      }
      stream.write({
        reply: {
          command_id: command.id,
          client_action: answerTo(command, action),
          events: events.map((added) => pack('mart.ItemAdded', added)),
          ...(snapshot && { snapshot: pack('mart.CartContents', { items }) }),
        },
      });
    }
  });
  stream.on('end', () => stream.end());
}

/** The stream of one counter. Its state is a primitive. */
function handleCounter(stream) {
  let value = 0;
  stream.on('data', ({ init, command }) => {
    if (init !== null) {
      if (init.state === null) throw new Error('the state message is missing');
      if (init.state.value !== null) value = readInt(init.state.value);
      return;
    }
    const { action, state } = counter[command.name](unpack(command.payload), value);
    if (state !== undefined) value = state ?? 0;
    stream.write({
      reply: {
        command_id: command.id,
        client_action: answerTo(command, action),
        ...(state !== undefined && {
          state_action: state === null ? { delete: {} } : { update: { value: writeInt(state) } },
        }),
      },
    });
  });
  stream.on('end', () => stream.end());
}

function answerTo({ id }, action) {
  return action?.failure === undefined ? action : { failure: { command_id: id, ...action.failure } };
}

const writeInt = (value) => ({
  type_url: 'p.cloudstate.io/int64',
  value: protobuf.Writer.create().uint32(8).int64(value).finish(),
});

function readInt({ value }) {
  const reader = protobuf.Reader.create(value);
  reader.uint32();
  return Number(reader.int64());
}

const watch = {
  Saw: ({ item }, metadata) => ({ forward: increase({ counter: metadata['ce-subject'], amount: item.quantity }) }),
};

function handleUnary({ request }, done) {
  const { service_name: service, name, payload, metadata } = request;
  const entries = Object.fromEntries((metadata?.entries ?? []).map(({ key, string_value: value }) => [key, value]));
  done(null, (service === 'mart.Watch' ? watch : desk)[name](unpack(payload), entries));
}

function handleStreamedIn(stream, done) {
  const texts = [];
  eachNote(stream, ({ text }) => texts.push(text));
  stream.on('end', () => done(null, reply('mart.Note', { text: texts.join(' ') })));
}

function handleStreamedOut(stream) {
  const { text, times } = unpack(stream.request.payload);
  for (let n = 1; n <= times; n += 1) stream.write(reply('mart.Note', { text: `${text} ${n}` }));
  stream.end();
}

function handleStreamed(stream) {
  eachNote(stream, (note, name) => stream.write(desk[name](note)));
  stream.on('end', () => stream.end());
}

/** The first message names the method and has no payload, the others have nothing else. */
function eachNote(stream, take) {
  let name;
  stream.on('data', (command) => {
    if (name === undefined) {
      if (command.payload !== null) throw new Error('the first message has a payload');
      name = command.name;
    } else {
      if (command.name !== '') throw new Error('a later message has a name');
      take(unpack(command.payload), name);
    }
  });
}

const [major, minor] = PROTOCOL.split('.').map(Number);
const entity = (entity_type, service_name, persistence_id, ms) => ({
  entity_type,
  service_name,
  persistence_id,
  ...(ms && { passivation_strategy: { timeout: { timeout: ms } } }),
});
const SPEC = {
  proto: readFileSync('user-function.desc'),
  entities: [
    entity('cloudstate.eventsourced.EventSourced', 'mart.Cart', 'carts', 60_000),
    entity('cloudstate.valueentity.ValueEntity', 'mart.Counter', 'counters'),
    entity('cloudstate.action.ActionProtocol', 'mart.Desk', ''),
    ...(WATCH === '' ? [] : [entity('cloudstate.action.ActionProtocol', 'mart.Watch', '')]),
  ],
  service_info: {
    service_name: 'mart',
    support_library_name: 'none',
    ...(PROTOCOL !== '' && { protocol_major_version: major, protocol_minor_version: minor }),
  },
};

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

const server = new Server();
server.addService(definitionOf('cloudstate.EntityDiscovery'), {
  discover: (_call, done) => done(null, SPEC),
  reportError: ({ request }, done) => {
    console.error(`reported: ${request.message}`);
    done(null, {});
  },
});
server.addService(definitionOf('cloudstate.eventsourced.EventSourced'), { handle: handleCart });
server.addService(definitionOf('cloudstate.valueentity.ValueEntity'), { handle: handleCounter });
server.addService(definitionOf('cloudstate.action.ActionProtocol'), {
  handleUnary,
  handleStreamedIn,
  handleStreamedOut,
  handleStreamed,
});
server.bindAsync(`${HOST}:${PORT}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error;
});
