import { setTimeout } from 'node:timers/promises';
import { Action, EventSourcedEntity, Kalix, replies, ValueEntity } from '@kalix-io/kalix-javascript-sdk';

// What each method does stands in proto/trouble.proto.
const includeDirs = ['./proto'];

const ledgers = new EventSourcedEntity('trouble.proto', 'trouble.LedgerService', 'ledgers', {
  includeDirs,
  snapshotEvery: 5,
});
const boxes = new ValueEntity('trouble.proto', 'trouble.BoxService', 'boxes', { includeDirs });
const desk = new Action('trouble.proto', 'trouble.DeskService', { includeDirs });

const Added = ledgers.lookupType('trouble.Added');
const Ledger = ledgers.lookupType('trouble.Ledger');
const Box = boxes.lookupType('trouble.Box');

const addTo = ledgers.service.methods.Add;
const forever = () => new Promise(() => undefined);
/** The SDK takes undefined, not 0, for "no status given". */
const failure = (text, status) => replies.failure(text, status === 0 ? undefined : status);

/** Another version of it gives one ledger 1 more each time. */
const generous = process.env.TROUBLE_GENEROUS_TO;

/** Emits `times` events and returns the state after them, as a Balance. */
function add({ id, amount: asked }, ledger, context, times = 1) {
  const amount = id === generous ? asked + 1 : asked;
  for (let n = 0; n < times; n += 1) context.emit(Added.create({ amount }));
  return { id, balance: ledger.balance + amount * times, changes: ledger.changes + times };
}

function withEffects(reply, { to, amount, synchronous }) {
  for (const id of to) reply.addEffect(addTo, { id, amount }, synchronous);
  return reply;
}

ledgers.setInitial(() => Ledger.create({ balance: 0, changes: 0 }));

ledgers.setBehavior(() => ({
  commandHandlers: {
    Add: (command, ledger, context) => replies.message(add(command, ledger, context)),
    AddMany: (command, ledger, context) => replies.message(add(command, ledger, context, command.times)),
    AddSlowly: async (command, ledger, context) => {
      await setTimeout(command.ms);
      return replies.message(add(command, ledger, context));
    },
    AddThenFail: (command, ledger, context) => {
      add(command, ledger, context);
      return failure('failed as told', command.status);
    },
    AddThenThrow: (command, ledger, context) => {
      add(command, ledger, context);
      throw new Error('thrown as told');
    },
    AddInSilence: (command, ledger, context) => {
      add(command, ledger, context);
    },
    AddAndForward: (command, ledger, context) => {
      add(command, ledger, context);
      return replies.forward(addTo, { id: command.to, amount: command.amount });
    },
    AddWithEffects: (command, ledger, context) => withEffects(replies.message(add(command, ledger, context)), command),
    EmitHuge: ({ id, bytes }, ledger, context) => {
      context.emit(Added.create({ amount: 0, padding: Buffer.alloc(bytes, 1) }));
      return replies.message({ id, balance: ledger.balance, changes: ledger.changes + 1 });
    },
    AnswerHuge: ({ bytes }) => replies.message({ content: Buffer.alloc(bytes, 1) }),
    Get: ({ id }, { balance, changes }) => replies.message({ id, balance, changes }),
    Throw: () => {
      throw new Error('thrown as told');
    },
    NeverAnswer: forever,
    Crash: () => process.exit(1),
    AddAlone: (command, ledger, context) =>
      context.metadata.get('_kalix-src').includes('self')
        ? replies.message(add(command, ledger, context))
        : replies.failure(`the source is ${context.metadata.get('_kalix-src')}`),
  },

  eventHandlers: {
    Added: ({ amount }, { balance, changes }) => Ledger.create({ balance: balance + amount, changes: changes + 1 }),
  },
}));

boxes.setInitial(() => Box.create({ text: '' }));

/** Sets the state and returns it as a Content. */
function put({ id, text }, context) {
  context.updateState(Box.create({ text }));
  return { id, text };
}

boxes.setCommandHandlers({
  Put: (command, _box, context) => replies.message(put(command, context)),
  PutThenFail: (command, _box, context) => {
    put(command, context);
    return failure('failed as told', command.status);
  },
  PutThenThrow: (command, _box, context) => {
    put(command, context);
    throw new Error('thrown as told');
  },
  PutAndForward: (command, _box, context) => {
    const { id, text } = put(command, context);
    return replies.forward(addTo, { id, amount: text.length });
  },
  Remove: ({ id }, { text }, context) => {
    context.deleteState();
    return replies.message({ id, text });
  },
  Look: ({ id }, { text }) => replies.message({ id, text }),
});

desk.commandHandlers = {
  Echo: ({ text }) => replies.message({ text }),
  Forward: ({ to, amount }) => replies.forward(addTo, { id: to, amount }),
  Scatter: (command) => withEffects(replies.message({ text: `to ${command.to.length}` }), command),
  Fail: ({ text, status }) => failure(text, status),
  Burst: ({ later }) => {
    if (later) return Promise.reject(new Error('rejected as told'));
    throw new Error('thrown as told');
  },
  // The SDK makes the clients when it is discovered, with the address that it is told.
  Ask: async ({ id, amount }) =>
    replies.message(await desk.clients.trouble.LedgerService.createClient().AddAlone({ id, amount })),
  Shrug: () => undefined,
  Ignore: forever,
  Count: ({ n }, context) => {
    for (let i = 1; i <= n; i += 1) context.write({ text: String(i) });
    if (n > 100) context.fail('too many');
    context.end();
  },
  Collect: (context) => {
    const texts = [];
    context.on('data', ({ text }) => texts.push(text));
    context.on('end', () => {
      context.write({ text: texts.join(' ') });
    });
  },
  Chat: (context) => {
    context.on('data', ({ text }) => context.write({ text }));
    context.on('end', () => context.end());
  },
};

const { WATCH } = process.env;
const watch = new Action('trouble.proto', 'trouble.WatchService', { includeDirs });

const saw = (what, { metadata: { cloudevent } }) => {
  const { id, source, subject, type } = cloudevent;
  return replies.message({ id, source, subject, type, what });
};

watch.commandHandlers = {
  SawAdded: ({ amount }, context) =>
    WATCH === 'picky' && amount % 7 === 0 ? failure('picky', 0) : saw(String(amount), context),
  SawBox: ({ text }, context) => saw(text, context),
  SawBoxGone: (_empty, context) => saw('gone', context),
};

const components = [ledgers, boxes, desk, ...(WATCH ? [watch] : [])];
new Kalix({ serviceName: 'trouble', serviceVersion: '1.0.0' }).addComponent(...components).start();
