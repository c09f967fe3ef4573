import {
  Action,
  AkkaServerless,
  EventSourcedEntity,
  replies,
  ValueEntity,
} from '@lightbend/akkaserverless-javascript-sdk';

const includeDirs = ['./proto'];

const counters = new EventSourcedEntity('counter.proto', 'counter.CounterService', 'counters', {
  includeDirs,
  snapshotEvery: 10,
});
const profiles = new ValueEntity('counter.proto', 'counter.ProfileService', 'profiles', { includeDirs });
const relay = new Action('counter.proto', 'counter.RelayService', { includeDirs });

const Counter = counters.lookupType('counter.Counter');
const Increased = counters.lookupType('counter.Increased');
const Decreased = counters.lookupType('counter.Decreased');
const Profile = profiles.lookupType('counter.Profile');

counters.setInitial(() => Counter.create({ value: 0 }));

counters.setBehavior(() => ({
  commandHandlers: {
    Increase: ({ counterId, amount }, { value }, context) => {
      if (amount <= 0) return replies.failure(`cannot increase by ${amount}`);
      context.emit(Increased.create({ amount }));
      return replies.message({ counterId, value: value + amount });
    },

    Decrease: ({ counterId, amount }, { value }, context) => {
      if (amount <= 0) return replies.failure(`cannot decrease by ${amount}`);
      if (amount > value) return replies.failure(`cannot take ${amount} from ${value}`);
      context.emit(Decreased.create({ amount }));
      return replies.message({ counterId, value: value - amount });
    },

    Get: ({ counterId }, { value }) => replies.message({ counterId, value }),
  },

  eventHandlers: {
    Increased: ({ amount }, { value }) => Counter.create({ value: value + amount }),
    Decreased: ({ amount }, { value }) => Counter.create({ value: value - amount }),
  },
}));

profiles.setInitial((userId) => Profile.create({ userId }));

profiles.setCommandHandlers({
  Set: (profile, _present, context) => {
    context.updateState(profile);
    return replies.message(profile);
  },

  Get: (_request, profile) => replies.message(profile),

  Delete: (_request, _profile, context) => {
    context.deleteState();
    return replies.message({});
  },
});

relay.commandHandlers = {
  Increase: (order) => replies.forward(counters.service.methods.Increase, order),
  Decrease: (order) => replies.forward(counters.service.methods.Decrease, order),
};

new AkkaServerless().addComponent(counters, profiles, relay).start();
