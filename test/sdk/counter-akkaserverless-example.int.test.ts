import { describe, expect, it } from 'vitest';
import { startFunction } from '../support/function-process.ts';
import { discoverRaw, openEntity } from '../support/raw-function.ts';
import { fileScope } from '../support/scope.ts';

const file = fileScope();
const { url, dialect } = await startFunction(file, { source: 'counter-akkaserverless' });
const fn = await discoverRaw(file, { url, dialect });

const openCounter = (id: string) => openEntity(fn, { kind: 'event-sourced', service: 'counter.CounterService', id });

describe('the Akka Serverless counter example', () => {
  it('offers a counter, a profile and a relay by protocol 0.7', () => {
    expect(fn.spec).toMatchObject({
      components: [
        {
          component_type: 'akkaserverless.component.eventsourcedentity.EventSourcedEntities',
          service_name: 'counter.CounterService',
          entity: { entity_type: 'counters' },
        },
        {
          component_type: 'akkaserverless.component.valueentity.ValueEntities',
          service_name: 'counter.ProfileService',
          entity: { entity_type: 'profiles' },
        },
        { component_type: 'akkaserverless.component.action.Actions', service_name: 'counter.RelayService' },
      ],
      service_info: {
        support_library_name: '@lightbend/akkaserverless-javascript-sdk',
        support_library_version: '0.32.0',
        protocol_minor_version: 7,
      },
    });
  });

  it('counts by events, fails what would go below zero, and goes on after that', async () => {
    const counter = openCounter('c1');
    const increase = fn.pack('counter.IncreaseBy', { counterId: 'c1', amount: 3 });
    const decrease = fn.pack('counter.DecreaseBy', { counterId: 'c1', amount: 5 });

    expect(await counter.command('Increase', increase)).toEqual({
      reply: {
        command_id: 1,
        client_action: { reply: { payload: { '@type': 'counter.CounterValue', counterId: 'c1', value: 3 } } },
        events: [{ '@type': 'counter.Increased', amount: 3 }],
      },
    });
    expect(await counter.command('Decrease', decrease)).toEqual({
      reply: { command_id: 2, client_action: { failure: { command_id: 2, description: 'cannot take 5 from 3' } } },
    });
    expect(await counter.command('Get', fn.pack('counter.CounterRequest', { counterId: 'c1' }))).toMatchObject({
      reply: { client_action: { reply: { payload: { value: 3 } } } },
    });
  });

  it('hands over a snapshot with the tenth event', async () => {
    const counter = openCounter('c2');
    const increase = fn.pack('counter.IncreaseBy', { counterId: 'c2', amount: 2 });

    for (let n = 1; n < 10; n += 1) {
      expect(await counter.command('Increase', increase)).not.toHaveProperty('reply.snapshot');
    }

    expect(await counter.command('Increase', increase)).toHaveProperty('reply.snapshot', {
      '@type': 'counter.Counter',
      value: 20,
    });
  });

  it('keeps a profile until it is deleted', async () => {
    const profile = openEntity(fn, { kind: 'value', service: 'counter.ProfileService', id: 'u1' });
    const given = { userId: 'u1', name: 'Ada', email: 'ada@example.org' };
    const get = () => profile.command('Get', fn.pack('counter.ProfileRequest', { userId: 'u1' }));

    expect(await profile.command('Set', fn.pack('counter.Profile', given))).toHaveProperty('reply.state_action', {
      update: { value: { '@type': 'counter.Profile', ...given } },
    });
    expect(await get()).toMatchObject({ reply: { client_action: { reply: { payload: given } } } });
    expect(await profile.command('Delete', fn.pack('counter.DeleteProfile', { userId: 'u1' }))).toMatchObject({
      reply: {
        client_action: { reply: { payload: { '@type': 'google.protobuf.Empty' } } },
        state_action: { delete: {} },
      },
    });
    expect(await get()).toMatchObject({ reply: { client_action: { reply: { payload: { userId: 'u1', name: '' } } } } });
  });

  it('forwards what the relay gets to the counter', async () => {
    const response = await fn.call('component.action.Actions/HandleUnary', {
      service_name: 'counter.RelayService',
      name: 'Decrease',
      payload: fn.pack('counter.RelayedDecrease', { counterId: 'c3', amount: 4 }),
    });

    expect(response).toEqual({
      forward: {
        service_name: 'counter.CounterService',
        command_name: 'Decrease',
        payload: { '@type': 'counter.DecreaseBy', counterId: 'c3', amount: 4 },
      },
    });
  });
});
