import type { JsonObject } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { startFunction } from '../support/function-process.ts';
import { discoverRaw, openEntity, type Plain, type RawFunction } from '../support/raw-function.ts';
import { fileScope } from '../support/scope.ts';

const file = fileScope();
const shared = await startFunction(file, { source: 'trouble' });
const fn = await discoverRaw(file, shared);

describe('the ledger that misbehaves as it is told', () => {
  it('adds, with the state after all events of a reply as the snapshot', async () => {
    const ledger = openLedger('plain');

    expect(await ledger.order('Add', { amount: 2 })).toMatchObject({ reply: { events: [{ amount: 2 }] } });
    expect(await ledger.order('AddMany', { amount: 3, times: 6 })).toMatchObject({
      reply: {
        client_action: { reply: { payload: { balance: 20, changes: 7 } } },
        events: Array(6).fill({ '@type': 'trouble.Added', amount: 3, padding: '' }),
        snapshot: { '@type': 'trouble.Ledger', balance: 20, changes: 7 },
      },
    });
    expect(await ledger.balance()).toEqual({ '@type': 'trouble.Balance', id: 'plain', balance: 20, changes: 7 });
  });

  it('fails with the status that it is told, without the event it emitted before, and lives on', async () => {
    const ledger = openLedger('failing');

    expect(await ledger.order('AddThenFail', { amount: 2, status: 9 })).toEqual({
      reply: {
        command_id: 1,
        client_action: { failure: { command_id: 1, description: 'failed as told', grpc_status_code: 9 } },
      },
    });
    expect(await ledger.balance()).toMatchObject({ balance: 0, changes: 0 });
  });

  it.each([
    ['Throw', {}],
    ['AddThenThrow', { amount: 1 }],
  ])('reports what %s throws at the level of the stream, and ends that', async (name, fields) => {
    const ledger = openLedger(name);

    expect(await ledger.order(name, fields)).toMatchObject({
      failure: { command_id: 1, description: expect.stringContaining('thrown as told') },
    });
    await expect(ledger.order('Get')).rejects.toThrow('the function ended the stream');
  });

  it('has events without an answer in the reply of AddInSilence', async () => {
    expect(await openLedger('silent').order('AddInSilence', { amount: 2 })).toEqual({
      reply: { command_id: 1, events: [{ '@type': 'trouble.Added', amount: 2, padding: '' }] },
    });
  });

  it('takes the time that AddSlowly gives it, and others are not held up', async () => {
    const slow = openLedger('slow').order('AddSlowly', { amount: 1, ms: 300 });
    const first = await Promise.race([
      slow.then(() => 'slow'),
      openLedger('quick')
        .balance()
        .then(() => 'quick'),
    ]);

    expect(first).toBe('quick');
    expect(await slow).toMatchObject({ reply: { events: [{ amount: 1 }] } });
  });

  it('does not answer NeverAnswer while it answers others', async () => {
    const never = openLedger('never').order('NeverAnswer');
    const others = async () => {
      for (let n = 0; n < 20; n += 1) await openLedger(`other-${n}`).balance();
      return 'others';
    };

    expect(await Promise.race([never.catch(() => 'ended'), others()])).toBe('others');
  });

  it('forwards to another ledger, beside its own event', async () => {
    expect(await openLedger('from').order('AddAndForward', { amount: 2, to: 'to' })).toMatchObject({
      reply: {
        client_action: { forward: call('to', 2) },
        events: [{ amount: 2 }],
      },
    });
  });

  it('asks for side effects, synchronous where told', async () => {
    const reply = await openLedger('effects').order('AddWithEffects', { amount: 2, to: ['a', 'b'], synchronous: true });

    expect(reply).toHaveProperty('reply.side_effects', [
      { ...call('a', 2), synchronous: true },
      { ...call('b', 2), synchronous: true },
    ]);
  });

  it('makes events and answers of any size', async () => {
    const ledger = openLedger('huge');
    const base64 = (bytes: number) => Buffer.alloc(bytes, 1).toString('base64');

    const emitted = await ledger.order('EmitHuge', { bytes: 3_000_000 });
    const answered = await ledger.order('AnswerHuge', { bytes: 3_000_001 });

    expect(emitted).toHaveProperty('reply.events.0.padding', base64(3_000_000));
    expect(answered).toHaveProperty('reply.client_action.reply.payload.content', base64(3_000_001));
  });
});

describe('the box that misbehaves as it is told', () => {
  it('keeps what is put in until it is removed', async () => {
    const box = openBox('plain');

    expect(await box.order('Put', { text: 'a' })).toHaveProperty('reply.state_action', {
      update: { value: { '@type': 'trouble.Box', text: 'a' } },
    });
    expect(await box.order('Look')).toHaveProperty('reply.client_action.reply.payload.text', 'a');
    expect(await box.order('Remove')).toMatchObject({
      reply: { client_action: { reply: { payload: { text: 'a' } } }, state_action: { delete: {} } },
    });
    expect(await box.order('Look')).toHaveProperty('reply.client_action.reply.payload.text', '');
  });

  it('after PutThenFail shows the runtime no change, and the next command the change', async () => {
    const box = openBox('failing');

    expect(await box.order('PutThenFail', { text: 'b', status: 3 })).toEqual({
      reply: {
        command_id: 1,
        client_action: { failure: { command_id: 1, description: 'failed as told', grpc_status_code: 3 } },
      },
    });
    expect(await box.order('Look')).toHaveProperty('reply.client_action.reply.payload.text', 'b');
  });

  it('ends the stream after PutThenThrow', async () => {
    const box = openBox('throwing');

    expect(await box.order('PutThenThrow', { text: 'b' })).toMatchObject({ failure: { command_id: 1 } });
    await expect(box.order('Look')).rejects.toThrow('the function ended the stream');
  });

  it('forwards to the ledger of its own id', async () => {
    expect(await openBox('both').order('PutAndForward', { text: 'four' })).toMatchObject({
      reply: {
        client_action: { forward: call('both', 4) },
        state_action: { update: { value: { text: 'four' } } },
      },
    });
  });
});

describe('the desk that misbehaves as it is told', () => {
  it('answers, forwards and scatters', async () => {
    expect(await atDesk('Echo', { text: 'hello' })).toMatchObject({ reply: { payload: { text: 'hello' } } });
    expect(await atDesk('Forward', { to: 'l', amount: 5 })).toEqual({ forward: call('l', 5) });
    expect(await atDesk('Scatter', { to: ['l', 'm'], amount: 5 })).toMatchObject({
      reply: { payload: { text: 'to 2' } },
      side_effects: [call('l', 5), call('m', 5)],
    });
  });

  it('fails with the status that it is told', async () => {
    expect(await atDesk('Fail', { text: 'no', status: 7 })).toEqual({
      failure: { description: 'no', grpc_status_code: 7 },
    });
  });

  it('answers a rejected promise by a failure', async () => {
    expect(await atDesk('Burst', { later: true })).toEqual({ failure: { description: 'Error: rejected as told' } });
  });

  it('answers an empty message where its handler returned nothing', async () => {
    expect(await atDesk('Shrug', {})).toEqual({ reply: { payload: { '@type': 'trouble.Note', text: '' } } });
  });
});

describe('startFunction', () => {
  it('gives a process that can crash, tells its exit code, and can be had again on the same port', async (t) => {
    const first = await startFunction(t, { source: 'trouble' });
    const doomed = openEntity(await discoverRaw(t, first), {
      kind: 'event-sourced',
      service: 'trouble.LedgerService',
      id: 'doomed',
    });

    await expect(doomed.command('Crash', fn.pack('trouble.CrashCommand', { id: 'doomed' }))).rejects.toThrow();
    expect(await first.exited).toBe(1);

    const second = await startFunction(t, { source: 'trouble', port: first.port });
    expect(second.url).toBe(first.url);
    second.kill('SIGTERM');
    expect(await second.exited).toBe(0);
  });

  it('leaves nothing running when it is stopped', async (t) => {
    const started = await startFunction(t, { source: 'trouble' });

    await started.stop();
    await started.stop();

    expect(await started.exited).toBe('SIGKILL');
    expect(() => process.kill(started.pid, 0)).toThrow('ESRCH');
  });

  it('refuses a port on which another process would answer in its place', async (t) => {
    await expect(startFunction(t, { source: 'trouble', port: shared.port })).rejects.toThrow('is taken');
  });

  it('says what the function printed if it does not come up', async (t) => {
    const env = { NODE_OPTIONS: '--import=data:text/javascript,throw(new(Error)(%22no%20luck%22))' };

    await expect(startFunction(t, { source: 'trouble', env })).rejects.toThrow('Error: no luck');
  });
});

function openLedger(id: string) {
  const { order, end } = openTrouble('event-sourced', 'trouble.LedgerService', id);
  const balance = async () => {
    const { reply } = (await order('Get')) as { reply: { client_action: { reply: { payload: Plain } } } };
    return reply.client_action.reply.payload;
  };
  return { order, balance, end };
}

function openBox(id: string) {
  return openTrouble('value', 'trouble.BoxService', id);
}

function openTrouble(kind: 'event-sourced' | 'value', service: string, id: string) {
  const entity = openEntity(fn, { kind, service, id });
  return {
    order: (name: string, fields: JsonObject = {}) => entity.command(name, order(fn, name, { id, ...fields })),
    end: entity.end,
  };
}

function atDesk(name: string, fields: JsonObject): Promise<Plain> {
  const payload = order(fn, name, fields);
  return fn.call('component.action.Actions/HandleUnary', { service_name: 'trouble.DeskService', name, payload });
}

function order(to: RawFunction, name: string, fields: JsonObject) {
  return to.pack(`trouble.${name}Command`, fields);
}

/** A forward or side effect to a ledger. */
function call(id: string, amount: number) {
  return {
    service_name: 'trouble.LedgerService',
    command_name: 'Add',
    payload: { '@type': 'trouble.AddCommand', id, amount },
  };
}
