import { beforeAll, describe, expect, it } from 'vitest';
import { partitionFor } from '../../src/topics/partition.ts';
import { type Cli, createCli } from '../support/cli.ts';
import { startFunction } from '../support/function-process.ts';
import { produce } from '../support/kafka.ts';
import { eventually } from '../support/processes.ts';
import { fileScope } from '../support/scope.ts';
import { startRuntime } from '../support/start-runtime.ts';
import { command, createOffice, type Office } from '../verify/office.ts';

const file = fileScope();
const fn = await startFunction(file, { source: 'trouble' });
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
let office: Office;
let cli: Cli;
/** The records, as `topic/partition/offset`. */
const records: Record<string, string> = {};

interface Story {
  readonly command: string;
  readonly at: string;
  readonly traceId: string | null;
  readonly chunk: { readonly shard: number };
  readonly inputs: readonly { readonly kind: string; readonly payload: unknown; readonly topic: string }[];
  readonly events: readonly {
    readonly component: string;
    readonly entity: string;
    readonly seq: number;
    readonly payload: unknown;
  }[];
  readonly values: readonly { readonly entity: string; readonly revision: number; readonly payload?: unknown }[];
  readonly outputs: readonly {
    readonly kind: string;
    readonly failure?: string;
    readonly payload?: unknown;
    readonly target?: { readonly entityId: string };
  }[];
  readonly derived: readonly Story[];
}

async function trace(entity: string, ...argv: string[]): Promise<Story[]> {
  const { out, err } = await cli('entity', 'trace', entity, '--json', ...argv);
  expect(err).toBe('');
  return (JSON.parse(out) as { commands: Story[] }).commands;
}

/** Sends a command, waits until it is applied and there are so many events in all, and resolves to the place of its record. */
async function send(
  topic: 'ledgers' | 'boxes',
  [method, id, fields]: readonly [string, string, object],
  events: number,
  traceparent?: string,
): Promise<string> {
  const message = command(method, id, { id, ...fields });
  const partition = partitionFor(Buffer.from(id), office.partitions);
  const name = office.topics[topic];
  const offset = Object.values(records).filter((place) => place.startsWith(`${name}/${partition}/`)).length;
  await produce(name, [
    { ...message, headers: { ...message.headers, ...(traceparent !== undefined && { traceparent }) } },
  ]);
  await eventually(`${method} of ${id} is done`, async () => {
    const [row] = await office.query<{ applied: string | null; events: number }>(
      `select (select applied ->> $1 from shard where shard = $2) as applied, (select count(*)::int from event) as events`,
      [name, partition],
    );
    return Number(row?.applied ?? 0) > offset && row?.events === events;
  });
  return `${name}/${partition}/${offset}`;
}

beforeAll(async () => {
  office = await createOffice(file, fn, { 'journal.keepInputs': true, 'journal.keepValues': true });
  const runtime = startRuntime(file, office.config);
  await runtime.ready();
  const forwarded = `00-${TRACE}-00f067aa0ba902b7-01`;
  const more = { to: ['one', 'two'], amount: 1 };
  records.add = await send('ledgers', ['Add', 'one', { amount: 2 }], 1);
  records.forward = await send('ledgers', ['AddAndForward', 'one', { amount: 3, to: 'two' }], 3, forwarded);
  records.fail = await send('ledgers', ['AddThenFail', 'one', { amount: 1 }], 3);
  records.effects = await send('ledgers', ['AddWithEffects', 'three', more], 6);
  records.many = await send('ledgers', ['AddMany', 'one', { amount: 1, times: 4 }], 10);
  records.put = await send('boxes', ['Put', 'box', { text: 'old' }], 10);
  records['put again'] = await send('boxes', ['Put', 'box', { text: 'new' }], 10);
  records.look = await send('boxes', ['Look', 'box', {}], 10);
  await runtime.stop();
  cli = createCli(office.config);
}, 120_000);

describe('entity trace', () => {
  it('tells all commands of an entity, oldest first, with their inputs, events and outputs', async () => {
    const story = await trace('one');
    expect(story.map((one) => one.command)).toEqual(
      ['add', 'forward', 'fail', 'effects', 'many'].map((name) => records[name]),
    );
    const [add, , , , many] = story;
    expect(add).toMatchObject({
      inputs: [{ kind: 'record', topic: office.topics.ledgers, payload: { id: 'one', amount: 2 } }],
      events: [{ component: 'ledgers', entity: 'one', seq: 1, payload: { amount: 2 } }],
      outputs: [{ kind: 'event' }, { kind: 'reply', payload: { id: 'one', balance: 2 } }],
      derived: [],
    });
    expect(many?.events.map(({ seq }) => seq)).toEqual([4, 5, 6, 7]);
    expect(Date.parse(many?.at ?? '')).toBeGreaterThan(Date.parse(add?.at ?? ''));
  });

  it('tells a forward and side effects of it, across the entities that they touched', async () => {
    const [, forward, , effects] = await trace('one');
    expect(forward).toMatchObject({
      traceId: TRACE,
      events: [{ entity: 'one', seq: 2 }],
      derived: [{ command: `${records.forward}#1`, events: [{ entity: 'two', seq: 1, payload: { amount: 3 } }] }],
    });
    expect(forward?.derived[0]?.inputs).toMatchObject([{ kind: 'command', payload: { id: 'two', amount: 3 } }]);
    expect(forward?.outputs.find(({ kind }) => kind === 'command')).toMatchObject({ target: { entityId: 'two' } });
    expect(effects?.events).toMatchObject([{ entity: 'three' }]);
    expect(effects?.derived.map(({ events }) => events[0]?.entity).sort()).toEqual(['one', 'two']);
    expect((await trace('two')).map((one) => one.command)).toEqual([records.forward, records.effects]);
  });

  it('tells a command that failed, by its dead letter', async () => {
    const [, , fail] = await trace('one');
    expect(fail).toMatchObject({
      events: [],
      outputs: [{ kind: 'dead letter', failure: 'FUNCTION_FAILED: failed as told' }],
    });
  });

  it('tells all changes of a value that are kept', async () => {
    const story = await trace('box');
    expect(story.map((one) => one.command).slice(0, 2)).toEqual([records.put, records['put again']]);
    expect(story[0]?.values).toMatchObject([{ entity: 'box', revision: 1, payload: { text: 'old' } }]);
    expect(story[0]?.outputs).toMatchObject([{ kind: 'state' }, { kind: 'reply', payload: { text: 'old' } }]);
    expect(story[1]?.values).toMatchObject([{ entity: 'box', revision: 2, payload: { text: 'new' } }]);
  });

  it('tells the newest, where there are more than asked for, and says so', async () => {
    expect((await trace('one', '--limit', '2')).map((one) => one.command)).toEqual([records.effects, records.many]);
    const { out } = await cli('entity', 'trace', 'one', '--limit', '1');
    expect(out).toMatch(/^ledgers one: 1 command from outside; older ones are not shown \(--limit\)\n/);
    expect((await cli('entity', 'trace', 'one')).out).not.toContain('--limit');
  });

  it('is a tree of lines for a person', async () => {
    const { out } = await cli('entity', 'trace', 'two');
    expect(out.replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')).toContain(
      [`${records.forward}  TIME  trace ${TRACE}`, `  chunk          `].join('\n'),
    );
    expect(out).toMatch(/\n {2}event +ledgers one 2 {2}trouble\.Added \{"amount":3\}\n/);
    expect(out).toMatch(/\n {4}event +1 {2}trouble\.Added \{"amount":3\}\n/);
    expect(out).toMatch(/\n {4}→ reply +to \S+ {2}trouble\.Balance \{"id":"two","balance":3,"changes":1\}\n/);
  });
});

describe('journal show', () => {
  it('shows what came of a record, and of a command that derives from it', async () => {
    const story = JSON.parse((await cli('journal', 'show', records.effects ?? '', '--json')).out) as Story;
    expect(story).toMatchObject({ command: records.effects, derived: [{}, {}] });
    const derived = JSON.parse((await cli('journal', 'show', `${records.effects}#1`, '--json')).out) as Story;
    expect(derived).toEqual(story.derived.find((one) => one.command === `${records.effects}#1`));
    expect(derived.events).toMatchObject([{ entity: 'one' }]);
  });

  it('shows a record that left nothing behind', async () => {
    const { code, out } = await cli('journal', 'show', records.look ?? '');
    expect(code).toBe(0);
    expect(out).toContain('  input          ');
    expect(out).not.toContain('event');
  });

  it('shows an event with what it led to', async () => {
    const { out } = await cli('journal', 'show', 'one@2');
    expect(out).toMatch(/^Event: +2 of ledgers one\n/);
    expect(out).toContain(`Command:   ${records.forward}\n`);
    expect(out).toContain(`Led to:    command ${records.forward}#1 for trouble.LedgerService/Add of two  `);
  });
});

describe('journal events', () => {
  it('of a record are those of all that derives from it', async () => {
    const { out } = await cli('journal', 'events', '--input', records.effects ?? '');
    const events = out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { entity: string });
    expect(events.map(({ entity }) => entity).sort()).toEqual(['one', 'three', 'two']);
    expect((await cli('journal', 'events', '--input', `${records.effects}#1`)).out.trimEnd().split('\n')).toHaveLength(
      1,
    );
  });
});

describe('entity show', () => {
  const balanceAt = async (...argv: string[]) => {
    const printed = await cli('entity', 'show', 'one', '--probe', 'trouble.LedgerService/Get', ...argv);
    expect(printed.code).toBe(0);
    return (JSON.parse(printed.out) as { balance: number }).balance;
  };

  it('asks the function for the state after any event, before and behind the snapshot, and after any record', async () => {
    expect(await balanceAt()).toBe(10);
    const balances = [2, 5, 6, 7, 8, 9, 10];
    for (const [i, balance] of balances.entries()) expect(await balanceAt('--at', String(i + 1))).toBe(balance);
    expect(await balanceAt('--at', records.add ?? '')).toBe(2);
    expect(await balanceAt('--at', records.forward ?? '')).toBe(5);
    // It failed, and changed nothing.
    expect(await balanceAt('--at', records.fail ?? '')).toBe(5);
    expect(await balanceAt('--at', records.effects ?? '')).toBe(6);
    expect(await balanceAt('--at', '0s')).toBe(10);
  });

  it('asks for nothing without a method: snapshot and events are printed', async () => {
    const shown = JSON.parse((await cli('entity', 'show', 'one', '--json', '--at', '2')).out) as object;
    expect(shown).toMatchObject({
      seq: 2,
      last: 7,
      deleted: false,
      events: [{ payload: { amount: 2 } }, { payload: { amount: 3 } }],
    });
    const { snapshot, events } = JSON.parse((await cli('entity', 'show', 'one', '--json')).out) as {
      snapshot: { seq: number; payload: object };
      events: { seq: number }[];
    };
    expect(snapshot.payload).toHaveProperty('balance');
    expect(events.map(({ seq }) => seq)).toEqual(
      Array.from({ length: 7 - snapshot.seq }, (_, i) => snapshot.seq + 1 + i),
    );
  });

  it('shows a value as it is, and as it was', async () => {
    const shown = async (...argv: string[]) => JSON.parse((await cli('entity', 'show', 'box', ...argv)).out) as object;
    expect(await shown()).toEqual({ text: 'new' });
    expect(await shown('--at', records['put again'] ?? '')).toEqual({ text: 'new' });
    expect(await shown('--at', records.put ?? '')).toEqual({ text: 'old' });
    expect(await shown('--at', '1')).toEqual({ text: 'old' });
    const { at } = (await shown('--at', '2', '--json')) as { at: string };
    expect(await shown('--at', at)).toEqual({ text: 'new' });
    const before = new Date(Date.parse(at) - 1).toISOString();
    expect(await shown('--at', before, '--json')).toMatchObject({ revision: 1, last: 2, payload: { text: 'old' } });
    const { code, err } = await cli('entity', 'show', 'box', '--at', '2020-01-01T00:00:00Z');
    expect(code).toBe(1);
    expect(err).toMatch(/"box" has its first value of \S+, and --at names a moment before it\./);
  });

  it('says of which values it is not kept what they were', async (t) => {
    const [kept] = await office.query<{ change: object }>(
      "delete from value_revision r where entity_id = 'box' and revision = 1 returning to_jsonb(r) as change",
    );
    t.onTestFinished(async () => {
      await office.query('insert into value_revision select * from jsonb_populate_record(null::value_revision, $1)', [
        kept?.change,
      ]);
    });
    const { code, err } = await cli('entity', 'show', 'box', '--at', '1');
    expect(code).toBe(1);
    expect(err).toContain('of the values that "box" has had the journal keeps the present one alone: revision 2 of ');
  });

  it('refuses a method that the function does not have, or that is of another component', async () => {
    const { code, err } = await cli('entity', 'show', 'one', '--probe', 'trouble.LedgerService/Nothing');
    expect(code).toBe(2);
    expect(err).toContain('the event sourced entities have no such method: trouble.LedgerService/Add,');
  });
});
