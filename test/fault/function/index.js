import { createRequire } from 'node:module';
import { setTimeout } from 'node:timers/promises';
import { Action, EventSourcedEntity, Kalix, replies, ValueEntity } from '@kalix-io/kalix-javascript-sdk';

/*
 * What each method does stands in proto/bank.proto. A command's `trouble`:
 * - throw: it throws; fail: it emits or sets its state, and answers with a failure;
 * - hang: it never answers; late: it answers LATE_MS later, when nobody waits any more;
 * - slow: it answers after SLOW_MS; huge: its answer has HUGE_BYTES;
 * - wrong-id: its answer names another command than the one that was asked.
 */
const LATE_MS = 13_000;
const SLOW_MS = 400;
const HUGE_BYTES = 2 * 1024 * 1024;

const VERSION = process.env.BANK_VERSION ?? '1';
const includeDirs = ['./proto'];

const accounts = new EventSourcedEntity('bank.proto', 'bank.AccountService', 'accounts', {
  includeDirs,
  snapshotEvery: 7,
});
const wallets = new ValueEntity('bank.proto', 'bank.WalletService', 'wallets', { includeDirs });

const Moved = accounts.lookupType('bank.Moved');
const Held = accounts.lookupType('bank.Held');
const HeldValue = wallets.lookupType('bank.Held');
const receive = accounts.service.methods.Receive;

/** In an answer that is to name another command. */
const MISNAMED = Buffer.from('misnamed as told');

/** Carries out the command's trouble around `handle`. */
async function troubled({ id, trouble }, handle) {
  switch (trouble) {
    case 'throw':
      throw new Error('thrown as told');
    case 'hang':
      return new Promise(() => undefined);
    case 'fail':
      handle();
      return replies.failure('failed as told');
    case 'late':
      await setTimeout(LATE_MS);
      return handle();
    case 'slow':
      await setTimeout(SLOW_MS);
      return handle();
    case 'huge':
      handle();
      return replies.message({ id, balance: 0, changes: 0, padding: Buffer.alloc(HUGE_BYTES, 1) });
    case 'wrong-id':
      handle();
      return replies.message({ id, balance: 0, changes: 0, padding: MISNAMED });
    default:
      return handle();
  }
}

/** Emits `times` events and returns the state after them, as a Balance. */
function move({ id }, amount, held, context, times = 1) {
  for (let n = 0; n < times; n += 1) context.emit(Moved.create({ amount }));
  return { id, balance: held.balance + amount * times, changes: held.changes + times };
}

accounts.setInitial(() => Held.create({ balance: 0, changes: 0 }));

accounts.setBehavior(() => ({
  commandHandlers: {
    Add: (command, held, context) =>
      troubled(command, () => replies.message(move(command, command.amount, held, context, command.times))),
    Send: (command, held, context) =>
      troubled(command, () => {
        move(command, -command.amount, held, context);
        return replies.forward(receive, { id: command.to, amount: command.amount });
      }),
    Spread: (command, held, context) =>
      troubled(command, () => {
        const reply = replies.message(move(command, -command.amount * command.to.length, held, context));
        for (const id of command.to) reply.addEffect(receive, { id, amount: command.amount });
        return reply;
      }),
    Receive: (command, held, context) => replies.message(move(command, command.amount, held, context)),
    Look: (command, { balance, changes }) =>
      troubled(command, () => replies.message({ id: command.id, balance, changes })),
  },
  eventHandlers: {
    Moved: ({ amount }, { balance, changes }) => Held.create({ balance: balance + amount, changes: changes + 1 }),
  },
}));

wallets.setInitial(() => HeldValue.create({ balance: 0, changes: 0 }));

/** Sets the state and returns it as a Balance. */
function change({ id }, amount, held, context) {
  const after = { balance: held.balance + amount, changes: held.changes + 1 };
  context.updateState(HeldValue.create(after));
  return { id, ...after };
}

wallets.setCommandHandlers({
  Put: (command, held, context) =>
    troubled(command, () => replies.message(change(command, command.amount, held, context))),
  Pay: (command, held, context) =>
    troubled(command, () => {
      change(command, -command.amount, held, context);
      return replies.forward(receive, { id: command.to, amount: command.amount });
    }),
  Peek: (command, { balance, changes }) =>
    troubled(command, () => replies.message({ id: command.id, balance, changes })),
});

/** The SDK never answers for another command: what it writes is changed on its way into the stream. */
const grpc = createRequire(createRequire(import.meta.url).resolve('@kalix-io/kalix-javascript-sdk'))('@grpc/grpc-js');
const { addService } = grpc.Server.prototype;
grpc.Server.prototype.addService = function addServiceThatMisnames(definition, handlers) {
  const wrapped = Object.fromEntries(
    Object.entries(handlers).map(([name, handler]) => [
      name,
      name === 'Handle' ? (call) => handler(misnaming(call)) : handler,
    ]),
  );
  return addService.call(this, definition, wrapped);
};

function misnaming(call) {
  const write = call.write.bind(call);
  call.write = (message, ...rest) => {
    const { reply } = message;
    const value = reply?.clientAction?.reply?.payload?.value;
    if (value === undefined || !Buffer.from(value).includes(MISNAMED)) return write(message, ...rest);
    return write({ ...message, reply: { ...reply, commandId: Number(reply.commandId) + 1 } }, ...rest);
  };
  return call;
}

const bank = new Kalix({ serviceName: 'bank', serviceVersion: `${VERSION}.0.0` }).addComponent(accounts, wallets);
if (VERSION === '2') {
  const desk = new Action('bank.proto', 'bank.DeskService', { includeDirs });
  desk.commandHandlers = { Note: ({ id }) => replies.message({ id, balance: 0, changes: 0 }) };
  bank.addComponent(desk);
}
bank.start();
