import {
  Action,
  AkkaServerless,
  EventSourcedEntity,
  replies,
  ValueEntity,
} from '@lightbend/akkaserverless-javascript-sdk';

// What each method does stands in proto/meter.proto.
const includeDirs = ['./proto'];

const meters = new EventSourcedEntity('meter.proto', 'meter.Meter', 'meters', { includeDirs });
const labels = new ValueEntity('meter.proto', 'meter.Label', 'labels', { includeDirs });
const watch = new Action('meter.proto', 'meter.Watch', { includeDirs });

const Added = meters.lookupType('meter.Added');
const Total = meters.lookupType('meter.Total');
const Text = labels.lookupType('meter.Text');

meters.setInitial(() => Total.create({ amount: 0 }));
meters.setBehavior(() => ({
  commandHandlers: {
    Add: ({ amount }, _total, context) => {
      context.emit(Added.create({ amount }));
      return replies.message({ text: `${amount}` });
    },
  },
  eventHandlers: { Added: ({ amount }, total) => Total.create({ amount: total.amount + amount }) },
}));

labels.setInitial(() => Text.create({ text: '' }));
labels.setCommandHandlers({
  Write: ({ text }, _state, context) => {
    context.updateState(Text.create({ text }));
    return replies.message({ text });
  },
});

const saw = (what, { metadata }) => {
  const attributes = ['ce-source', 'ce-id', 'ce-type'].map((name) => String(metadata.get(name)[0]));
  return replies.message({ text: [...attributes, what].join(' ') });
};
watch.commandHandlers = {
  SawAdded: ({ amount }, context) => saw(amount, context),
  SawText: ({ text }, context) => saw(text, context),
};

new AkkaServerless().addComponent(meters, labels, watch).start();
