import type { EngineOptions } from '../../src/engine/engine.ts';
import { answerEarly } from './answer-early.ts';

/** Places of a module, and what stands there instead. `module` is below src, without its ending. */
export interface SourceChange {
  readonly module: string;
  readonly places: readonly { readonly from: string; readonly to: string }[];
}

/** A way to break the engine, and what of it then does not hold. Exactly one of `parts` and `source` is set. */
export interface Mutation {
  readonly breaks: string;
  /** Replaces parts of each engine. */
  readonly parts?: (parts: EngineOptions, brokers: readonly string[]) => EngineOptions;
  readonly source?: SourceChange;
}

const NAMES = [
  'unguarded-journal',
  'no-fence',
  'offsets-before-fence',
  'outbox-forgotten',
  'two-in-flight',
  'stale-entities',
  'cached-reads',
  'early-answers',
  'sent-again',
] as const;
export type MutationName = (typeof NAMES)[number];

/** Nine broken engines. A fault run that does not find them out proves nothing about the one that is not broken. */
export const MUTATIONS: Readonly<Record<MutationName, Mutation>> = {
  'unguarded-journal': {
    breaks:
      'the journal checks neither the epoch nor the position of a chunk, nor minds that it has one of that number',
    source: {
      module: 'journal/append',
      places: [
        { from: ' and s.epoch = c.epoch and s.applied = c.applied_from', to: '' },
        {
          from: 'c.parked::int[], $46\n  from given c join moved m using (shard)',
          to: 'c.parked::int[], $46\n  from given c join moved m using (shard) on conflict do nothing',
        },
      ],
    },
  },
  'no-fence': {
    // Waiting until no offsets are pending alone would let the earlier owner finish what it has open.
    breaks: 'a new owner of a shard neither fences the earlier ones nor minds what they have open',
    parts: withOpening((steps) => ({
      ...steps,
      fence: async () => undefined,
      committed: (topics, shards) => steps.committed(topics, shards, false),
    })),
  },
  'offsets-before-fence': {
    breaks: 'a new owner reads the committed offsets before it fences the earlier ones',
    parts: withOpening((steps, { topics }) => {
      let early: Awaited<ReturnType<typeof steps.committed>> | undefined;
      return {
        ...steps,
        async open(shards) {
          const opened = await steps.open(shards);
          early = await steps.committed(topics, shards, false);
          return opened;
        },
        committed: async (...asked) => early ?? steps.committed(...asked),
      };
    }),
  },
  'outbox-forgotten': {
    breaks: 'a new owner does not emit what is journaled and not committed',
    parts: withOpening((steps) => ({ ...steps, outbox: async () => [] })),
  },
  'two-in-flight': {
    breaks: 'two commands of one entity are at the function at once',
    source: {
      module: 'engine/entities',
      places: [
        {
          from: 'const id = idOf(component, command, item);',
          to: 'const id = idOf(component, command, item) + (item.record.offset % 2n);',
        },
      ],
    },
  },
  'stale-entities': {
    breaks: 'entities stay as they are when what they decided was not journaled',
    source: {
      module: 'engine/engine',
      places: [{ from: 'this.#entities.drop(shard);', to: '' }],
    },
  },
  'cached-reads': {
    breaks: 'a door answers what only reads from what it was last answered of the entity',
    source: {
      module: 'doors/log-calls',
      places: [
        {
          from: 'const message = toMessage(command, { partition, correlation, doneOnly, awaits: 0 });',
          to: `
            const last = (globalThis.lastAnswers ??= new Map());
            if (/^(Look|Peek)$/.test(command.method.name) && last.has(command.entityId)) {
              resolve(last.get(command.entityId));
              return;
            }
            const told = resolve;
            resolve = (outcome) => {
              if (!/^(Send|Pay)$/.test(command.method.name)) last.set(command.entityId, outcome);
              told(outcome);
            };
            const message = toMessage(command, { partition, correlation, doneOnly, awaits: 0 });`,
        },
      ],
    },
  },
  'early-answers': {
    breaks: 'callers at the doors are answered before the journal has what they are told',
    parts: answerEarly,
  },
  'sent-again': {
    breaks: 'a door sends again what the log has not confirmed',
    source: {
      module: 'doors/log-calls',
      places: [{ from: 'retry: { retries: 0 },', to: 'retry: { retries: 5 },' }],
    },
  },
};

export const MUTATION_NAMES: readonly MutationName[] = NAMES;

type Steps = ReturnType<EngineOptions['opening']>;

function withOpening(change: (steps: Steps, parts: EngineOptions) => Steps): (parts: EngineOptions) => EngineOptions {
  return (parts) => ({ ...parts, opening: (transactionalId) => change(parts.opening(transactionalId), parts) });
}
