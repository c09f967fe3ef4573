import type { Message } from 'kafkajs';
import type { Random } from '../support/random.ts';

/** How a command's handler misbehaves, each time that it is called; see function/index.js. */
export const POISONS = ['throw', 'fail', 'hang', 'late', 'huge', 'wrong-id'] as const;
export type Trouble = (typeof POISONS)[number] | 'slow';

/** Methods that take commands from the input topic, by service; a method's input type is `bank.<method>Command`. */
export const METHODS = {
  'bank.AccountService': ['Add', 'Send', 'Spread', 'Look'],
  'bank.WalletService': ['Put', 'Pay', 'Peek'],
} as const;
export type Method = (typeof METHODS)[keyof typeof METHODS][number];

/** A command as its record's value (JSON) has it, without the serial number. */
export interface Command {
  readonly method: Method;
  readonly id: string;
  readonly amount?: number;
  readonly times?: number;
  readonly to?: string | readonly string[];
  readonly trouble?: Trouble;
}

const COUNTERS = 12;
const ACCOUNTS = 10;
const WALLETS = 6;
/** Of so many commands one is poison, and one slow. */
const POISON_IN = 400;
const SLOW_IN = 400;
/** Of so many calls at a door one is poison, and one slow. */
const POISON_CALL_IN = 100;
/** Among poisons, one that holds its shard until the function's deadline is rarer than one that answers at once. */
const AT_ONCE: readonly Trouble[] = ['throw', 'fail', 'huge', 'wrong-id', 'throw', 'fail', 'wrong-id'];
const OVERDUE: readonly Trouble[] = ['hang', 'late'];

/** A random command. `only`: methods to choose from. */
export function randomCommand(random: Random, only?: readonly Method[]): Command {
  const command = plain(random, only);
  const draw = random.int(POISON_IN);
  if (draw === 0) return { ...command, trouble: random.pick(random.int(20) === 0 ? OVERDUE : AT_ONCE) };
  if (random.int(SLOW_IN) === 0) return { ...command, trouble: 'slow' };
  return command;
}

/** A random command for a door: half of them read, and those that fail do so at once. `only`: methods that may change something. */
export function randomCall(random: Random, only?: readonly Method[]): Command {
  const kinds = only === undefined ? CHANGING : CHANGING.filter((method) => only.includes(method));
  const command = plain(random, random.int(2) === 0 ? READING : kinds);
  const draw = random.int(POISON_CALL_IN);
  if (draw > 1) return command;
  return { ...command, trouble: draw === 0 ? random.pick(['throw', 'fail']) : 'slow' };
}

const CHANGING: readonly Method[] = ['Add', 'Add', 'Put', 'Put', 'Send', 'Spread', 'Pay'];
const READING: readonly Method[] = ['Look', 'Peek'];

const KINDS: readonly Method[] = [
  'Add',
  'Add',
  'Send',
  'Send',
  'Send',
  'Spread',
  'Spread',
  'Look',
  'Put',
  'Put',
  'Pay',
  'Pay',
  'Peek',
];

function plain(random: Random, only: readonly Method[] = KINDS): Command {
  const method = random.pick(only);
  const amount = 1 + random.int(1_000);
  const account = () => `account-${random.int(ACCOUNTS)}`;
  const wallet = () => `wallet-${random.int(WALLETS)}`;
  switch (method) {
    case 'Add':
      return { method, id: `counter-${random.int(COUNTERS)}`, amount, times: 1 + random.int(3) };
    case 'Send':
      return { method, id: account(), amount, to: account() };
    case 'Spread':
      return { method, id: account(), amount, to: Array.from({ length: 1 + random.int(3) }, account) };
    case 'Look':
      return { method, id: random.int(2) === 0 ? account() : `counter-${random.int(COUNTERS)}` };
    case 'Put':
      return { method, id: `purse-${random.int(WALLETS)}`, amount };
    case 'Pay':
      return { method, id: wallet(), amount, to: account() };
    case 'Peek':
      return { method, id: random.int(2) === 0 ? wallet() : `purse-${random.int(WALLETS)}` };
  }
}

/** The command as a record of the input topic; `n` tells it from every other one of the run. */
export function commandMessage({ method, ...fields }: Command, n: number): Message {
  return {
    key: fields.id,
    value: JSON.stringify(fields),
    headers: { ce_type: `bank.${method}Command`, 'content-type': 'application/json', 'fault-n': String(n) },
  };
}

/** What `commandMessage` made, read back. */
export function commandOf(record: { readonly value: string; readonly type: string }): Command {
  const method = record.type.replace(/^bank\.|Command$/g, '') as Method;
  return { ...(JSON.parse(record.value) as Omit<Command, 'method'>), method };
}

/** Whether the balances of these entities add up to nothing: money is moved between them and never made. */
export function isConserved(entity: string): boolean {
  return entity.startsWith('account-') || entity.startsWith('wallet-');
}
