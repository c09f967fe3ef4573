import type { Transactor } from './transactor.ts';

/** A transactor that commits the offsets, and of the outputs only those for one topic: what the others are is kept back. */
export function onlyTo(topic: string, transactor: Transactor): Transactor {
  return {
    transactionalId: transactor.transactionalId,
    open: () => transactor.open(),
    commit: ({ outputs, offsets }) =>
      transactor.commit({ outputs: outputs.filter((output) => output.topic === topic), offsets }),
    close: () => transactor.close(),
  };
}
