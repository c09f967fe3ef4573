import type { Status } from '../../src/observe/status.ts';

/** A process with two shards of which the second still recovers. */
export function aStatus(): Status {
  return {
    deployment: 'carts',
    doors: { address: '127.0.0.1:9000' },
    processId: 'carts-1',
    state: 'running',
    function: {
      url: 'http://127.0.0.1:8080',
      up: true,
      serviceName: 'shop',
      dialect: 'kalix',
      components: [{ kind: 'event-sourced', service: 'shop.Cart', entityType: 'carts' }],
    },
    shards: [
      {
        shard: 0,
        state: 'running',
        epoch: 3,
        owner: 'carts-1',
        positions: {
          'cart-commands': { applied: '90', committed: '80', end: '100', lag: 10 },
          refunds: { applied: '5', committed: '5', end: null, lag: null },
        },
        inFlight: { records: 4, bytes: 400 },
        waiting: { records: 2, bytes: 200 },
        activeEntities: 7,
        pausedEntities: 0,
        halt: null,
        schemaAwaitedSince: null,
        feeds: [
          {
            name: 'shop.Watch',
            source: 'event-sourced',
            entityType: 'carts',
            state: 'catching-up',
            position: 30,
            behind: 50,
          },
          { name: 'shop.Watch', source: 'value', entityType: 'prices', state: 'live', position: null, behind: 0 },
        ],
      },
      {
        shard: 12,
        state: 'recovering',
        epoch: 1,
        owner: 'carts-1',
        positions: { 'cart-commands': { applied: '0', committed: '0', end: '1', lag: 1 } },
        inFlight: { records: 1, bytes: 100 },
        waiting: { records: 0, bytes: 0 },
        activeEntities: 0,
        pausedEntities: 0,
        halt: null,
        schemaAwaitedSince: null,
        feeds: [],
      },
    ],
    totals: {
      records: 90,
      commands: 90,
      events: 80,
      outputs: 90,
      deadLetters: 0,
      strays: 0,
      retries: 0,
      parked: 0,
      duplicates: 0,
      skipped: 0,
      chunks: 9,
      transactions: 8,
      rebuilds: 0,
    },
  };
}
