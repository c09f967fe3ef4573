import protobuf from 'protobufjs';
import { answerTo, EMPTY, failure, messagesOf, serve } from '../last-cloudstate.js';

// What each method does stands in proto/mart.proto.
const { WATCH = '' } = process.env;
const SNAPSHOT_EVERY = 5;

const { pack, unpack, reply } = messagesOf(import.meta.dirname, 'mart.proto');

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

const entity = (entity_type, service_name, persistence_id, ms) => ({
  entity_type,
  service_name,
  persistence_id,
  ...(ms && { passivation_strategy: { timeout: { timeout: ms } } }),
});

serve({
  serviceName: 'mart',
  entities: [
    entity('cloudstate.eventsourced.EventSourced', 'mart.Cart', 'carts', 60_000),
    entity('cloudstate.valueentity.ValueEntity', 'mart.Counter', 'counters'),
    entity('cloudstate.action.ActionProtocol', 'mart.Desk', ''),
    ...(WATCH === '' ? [] : [entity('cloudstate.action.ActionProtocol', 'mart.Watch', '')]),
  ],
  handlers: {
    'cloudstate.eventsourced.EventSourced': { handle: handleCart },
    'cloudstate.valueentity.ValueEntity': { handle: handleCounter },
    'cloudstate.action.ActionProtocol': { handleUnary, handleStreamedIn, handleStreamedOut, handleStreamed },
  },
});
