/** What one step leads to, and what a person calls it. */
export interface Step<State> {
  readonly label: string;
  readonly state: State;
}

/** A promise that is broken: thrown by a step, or by the look at a state. */
export class Broken extends Error {}

export interface Exploration {
  /** Distinct states. */
  readonly states: number;
  readonly steps: number;
  /** States in which nothing more can happen. */
  readonly ends: number;
  /** How often each kind of step was taken: the label up to its first colon. */
  readonly taken: ReadonlyMap<string, number>;
  /** The first promise that was found broken, with the shortest way there; undefined when all hold everywhere. */
  readonly broken: { readonly promise: string; readonly trace: readonly string[] } | undefined;
}

/**
 * Visits every state that can be reached, the nearest first, until none is left or a promise is broken.
 * @throws Error when there are more than `maxStates`: the bounds are too wide for what they are to cost.
 */
export async function explore<State>(options: {
  readonly initial: State;
  /** Equal for states of which nobody could tell the difference. */
  readonly key: (state: State) => string;
  /** Done before the steps of a state are asked for, where they cannot be told at once. */
  readonly prepare: (state: State) => Promise<void> | undefined;
  /** Calls `take` for each step there is; the step's work is done on a copy and may throw `Broken`. */
  readonly steps: (state: State, take: (label: string, work: () => State) => void) => void;
  /** Throws `Broken` where something is wrong with a state in which nothing more can happen. */
  readonly atEnd: (state: State) => void;
  readonly maxStates: number;
}): Promise<Exploration> {
  const { key, prepare, steps, atEnd, maxStates } = options;
  const seen = new Map<string, number>([[key(options.initial), 0]]);
  const cameFrom: number[] = [-1];
  const cameBy: string[] = [''];
  const taken = new Map<string, number>();
  let level: { readonly state: State; readonly number: number }[] = [{ state: options.initial, number: 0 }];
  let count = 0;
  let ends = 0;

  const traceTo = (number: number, last: readonly string[]): string[] => {
    const trace = [...last];
    for (let at = number; at > 0; at = cameFrom[at] as number) trace.unshift(cameBy[at] as string);
    return trace;
  };
  const result = (broken: Exploration['broken']): Exploration => ({
    states: seen.size,
    steps: count,
    ends,
    taken,
    broken,
  });

  while (level.length > 0) {
    const next: typeof level = [];
    for (const { state, number } of level) {
      const waiting = prepare(state);
      if (waiting !== undefined) await waiting;
      let any = false;
      let attempted: string[] = [];
      try {
        steps(state, (label, work) => {
          any = true;
          count++;
          attempted = [label];
          const kind = label.slice(0, label.indexOf(':'));
          taken.set(kind, (taken.get(kind) ?? 0) + 1);
          const reached = work();
          const reachedKey = key(reached);
          if (seen.has(reachedKey)) return;
          const reachedNumber = seen.size;
          seen.set(reachedKey, reachedNumber);
          cameFrom.push(number);
          cameBy.push(label);
          next.push({ state: reached, number: reachedNumber });
        });
        attempted = [];
        if (!any) {
          ends++;
          atEnd(state);
        }
      } catch (error) {
        if (!(error instanceof Broken)) throw error;
        return result({ promise: error.message, trace: traceTo(number, attempted) });
      }
      if (seen.size > maxStates) throw new Error(`more than ${maxStates} states can be reached: narrow the bounds`);
    }
    level = next;
  }
  return result(undefined);
}
