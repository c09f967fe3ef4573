// The counter with the Kalix JavaScript SDK, as a user of it would write it.
import { EventSourcedEntity, Kalix, replies } from '@kalix-io/kalix-javascript-sdk';

const counters = new EventSourcedEntity('counter.proto', 'bench.CounterService', 'counters', {
  includeDirs: ['./proto'],
  snapshotEvery: 100,
});

const Counter = counters.lookupType('bench.Counter');
const Increased = counters.lookupType('bench.Increased');

counters.setInitial(() => Counter.create({ total: 0 }));

counters.setBehavior(() => ({
  commandHandlers: {
    Increase: ({ counterId, amount }, { total }, context) => {
      context.emit(Increased.create({ amount }));
      return replies.message({ counterId, total: total + amount });
    },
  },

  eventHandlers: {
    Increased: ({ amount }, { total }) => Counter.create({ total: total + amount }),
  },
}));

new Kalix().addComponent(counters).start();
