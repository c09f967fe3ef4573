import { describe, expect, it } from 'vitest';
import { checkHistory, missingOutputs } from './checker.ts';
import type { DoorCall, SeenRecord } from './history.ts';
import { type OpenHistory, perfectHistory } from './perfect-history.ts';

const SEEDS = [1, 2, 3, 4, 5];
const make = (seed = 1): OpenHistory => perfectHistory({ seed, commands: 300 });

/** Kinds of what is wrong with a history after `change`. */
function kindsAfter(change: (history: OpenHistory) => void): string[] {
  const history = make();
  change(history);
  return [...new Set(checkHistory(history).violations.map(({ kind }) => kind))].sort();
}

/** The index of the record number `nth` whose id `fits`. */
function indexOf({ seen }: OpenHistory, fits: RegExp, nth = 20): number {
  const found = seen.flatMap((record, i) => (fits.test(record.id) ? [i] : []));
  return found[Math.min(nth, found.length - 1)] as number;
}

function replace(history: OpenHistory, i: number, more: Partial<SeenRecord>): void {
  history.seen[i] = { ...(history.seen[i] as SeenRecord), ...more };
}

/** Both readers read it, so that only what is in it counts. */
const asRead = (history: OpenHistory): void => {
  history.final = [...history.seen];
};

describe('a history in which everything takes effect once passes', () => {
  it.each(SEEDS)('seed %i', (seed) => {
    const history = make(seed);
    const verdict = checkHistory(history);
    expect(verdict.violations.map(({ sentence }) => sentence)).toEqual([]);
    expect(verdict.commands).toBe(300);
    expect(missingOutputs(history, history.seen)).toBe(0);
  });
});

describe('what is wrong with a history is found', () => {
  it.each([
    ['an answer that was lost', /\/reply$/],
    ['an event that was lost', /\/event-1$/],
    ['a state that was lost', /\/state$/],
    ['a side effect or forward that was lost', /#\d$/],
  ])('%s', (_, id) => {
    expect(
      kindsAfter((history) => {
        history.seen.splice(indexOf(history, id), 1);
        asRead(history);
      }),
    ).toContain('lost');
  });

  it.each([
    ['an answer that came twice', /\/reply$/],
    ['an event that came twice', /\/event-1$/],
    ['a forward or side effect that was asked for twice', /#1$/],
  ])('%s', (_, id) => {
    expect(
      kindsAfter((history) => {
        const i = indexOf(history, id);
        history.seen.splice(i + 1, 0, { ...(history.seen[i] as SeenRecord), offset: 9_999n });
        asRead(history);
      }),
    ).toContain('doubled');
  });

  it('an output that nobody asked for', () => {
    expect(
      kindsAfter((history) => {
        replace(history, indexOf(history, /\/reply$/), { id: 'orders/0/99999/reply' });
        asRead(history);
      }),
    ).toEqual(['invented', 'lost']);
  });

  it('an answer that does not count a change before it', () => {
    expect(
      kindsAfter((history) => {
        const i = indexOf(history, /\/reply$/, 60);
        const { balance, changes } = JSON.parse(history.seen[i]?.value ?? '');
        replace(history, i, { value: JSON.stringify({ balance: balance - 1, changes }) });
        asRead(history);
      }),
    ).toEqual(['state']);
  });

  it('a look that shows what was not yet, or not any more', () => {
    expect(
      kindsAfter((history) => {
        const looks = new Set(
          history.seen
            .filter(({ type }) => type === 'bank.LookCommand')
            .map((r) => `orders/${r.partition}/${r.offset}`),
        );
        const i = history.seen.findLastIndex(
          ({ id, value }) => looks.has(id.replace('/reply', '')) && JSON.parse(value).changes > 2,
        );
        replace(history, i, { value: JSON.stringify({ balance: 0, changes: 0 }) });
        asRead(history);
      }),
    ).toContain('order');
  });

  it('two commands of one entity that changed places', () => {
    expect(
      kindsAfter((history) => {
        const adds = history.seen.flatMap(({ key, id }, i) =>
          key === 'counter-1' && id.endsWith('/event-1') ? [i] : [],
        );
        const [one, other] = adds.slice(2, 4) as [number, number];
        const [first, second] = [history.seen[one], history.seen[other]] as [SeenRecord, SeenRecord];
        replace(history, one, { id: second.id, value: second.value });
        replace(history, other, { id: first.id, value: first.value });
        asRead(history);
      }),
    ).toContain('order');
  });

  it('money that was given and not taken', () => {
    expect(
      kindsAfter((history) => {
        history.seen = history.seen.filter(({ id }) => !/^orders\/\d+\/\d+\/(event-1|state)$/.test(id));
        asRead(history);
      }),
    ).toContain('total');
  });

  it('money that could be seen before it was taken', () => {
    expect(
      kindsAfter((history) => {
        const i = indexOf(history, /#1\/event-1$/);
        // Its cause is not below the end that was asked for afterwards.
        history.cuts = [{ upTo: i + 1, ends: {} }];
      }),
    ).toEqual(['total']);
  });

  it('a dead letter of a command that nothing was wrong with', () => {
    const bury = (history: OpenHistory): void => {
      const input = history.seen.find(({ type }) => type === 'bank.LookCommand') as SeenRecord;
      const place = `orders/${input.partition}/${input.offset}`;
      history.seen = history.seen.filter(({ id }) => id !== `${place}/reply`);
      history.seen.push({
        ...input,
        topic: 'dead-letters',
        type: '',
        n: -1,
        code: 'FUNCTION_TIMEOUT',
        from: place,
        offset: 7_777n,
      });
      asRead(history);
    };
    expect(kindsAfter(bury)).toEqual(['dead-letter']);
    expect(
      kindsAfter((history) => {
        bury(history);
        history.excusable = ['FUNCTION_TIMEOUT'];
      }),
    ).toEqual([]);
  });

  it('a command that was a dead letter and took effect as well', () => {
    expect(
      kindsAfter((history) => {
        const input = history.seen.find(({ type }) => type === 'bank.AddCommand') as SeenRecord;
        const from = `orders/${input.partition}/${input.offset}`;
        const letter = { ...input, topic: 'dead-letters', type: '', n: -1, code: 'FUNCTION_TIMEOUT', from };
        history.seen.push({ ...letter, offset: 7_777n });
        history.excusable = ['FUNCTION_TIMEOUT'];
        asRead(history);
      }),
    ).toContain('invented');
  });

  it('a command that was acknowledged and is not on its topic', () => {
    expect(
      kindsAfter((history) => {
        history.sent = [...history.sent, { n: 300, outcome: 'acknowledged', partition: 0, offset: 8_888n, at: 0 }];
      }),
    ).toEqual(['lost']);
  });

  it('but not a command that nobody knows of whether it was sent', () => {
    expect(
      kindsAfter((history) => {
        history.sent = [...history.sent, { n: 300, outcome: 'unknown', at: 0 }];
      }),
    ).toEqual([]);
  });

  it('a record that one reader got and the other did not', () => {
    expect(
      kindsAfter((history) => {
        history.final = (history.final ?? []).slice(0, -1);
      }),
    ).toEqual(['reader']);
  });

  const journals: [string, (journal: NonNullable<OpenHistory['journal']>) => OpenHistory['journal']][] = [
    ['an event that only the journal lacks', (j) => ({ ...j, events: j.events.slice(0, -1) })],
    [
      'a gap in the numbers of an entity',
      (j) => ({ ...j, events: j.events.map((e, i) => (i < 9 ? e : { ...e, seq: e.seq + 1 })) }),
    ],
    [
      'a value that is behind its topic',
      (j) => ({ ...j, values: j.values.map((v, i) => (i === 0 ? { ...v, revision: v.revision - 1 } : v)) }),
    ],
    ['a chunk that waits in the outbox', (j) => ({ ...j, unemitted: 1 })],
    ['a shard that somebody owns', (j) => ({ ...j, shards: j.shards.map((s) => ({ ...s, owners: ['bank-1'] })) })],
    [
      'input that is not applied',
      (j) => ({ ...j, shards: j.shards.map((s) => ({ ...s, applied: { ...s.applied, orders: '0' } })) }),
    ],
  ];
  it.each(journals)('%s', (_, change) => {
    expect(
      kindsAfter((history) => {
        if (history.journal === undefined) throw new Error('a perfect history has a journal');
        const journal = change(history.journal);
        if (journal !== undefined) history.journal = journal;
      }),
    ).toContain('journal');
  });
});

describe('what is wrong with calls at doors is found', () => {
  const callOf = (history: OpenHistory, fits: (call: DoorCall) => boolean): DoorCall => {
    const found = history.calls.findLast((call) => call.outcome === 'answered' && fits(call));
    if (found === undefined) throw new Error('a perfect history has such a call');
    return found;
  };
  const by = (method: string, keyed?: boolean) => (call: DoorCall) =>
    call.command.method === method && (keyed === undefined || call.keyed === keyed);
  const change = (history: OpenHistory, { n }: DoorCall, more: Partial<DoorCall>): void => {
    history.calls = history.calls.map((call) => (call.n === n ? { ...call, ...more } : call));
  };
  /** Its record, and all that it led to. */
  const recordsOf = (history: OpenHistory, { n }: DoorCall): { id: string; rest: SeenRecord[] } => {
    const record = history.seen.find((one) => one.topic === 'bank-commands' && one.n === n) as SeenRecord;
    return { id: record.id, rest: history.seen.filter(({ id }) => id.startsWith(`${record.id}/`)) };
  };
  /** The record of the call once more, as another attempt has it. */
  const again = (history: OpenHistory, call: DoorCall): { id: string; to: string } => {
    const { id } = recordsOf(history, call);
    const record = history.seen.find((one) => one.id === id) as SeenRecord;
    const to = `bank-commands/${record.partition}/9999`;
    history.seen.push({ ...record, offset: 9_999n, id: to });
    asRead(history);
    return { id, to };
  };
  /** One more call, which adds and is in the log, and of which nothing came. */
  const addRefused = (history: OpenHistory, more: Partial<DoorCall>): void => {
    const call = callOf(history, by('Add'));
    const { id } = recordsOf(history, call);
    const record = history.seen.find((one) => one.id === id) as SeenRecord;
    const n = history.calls.length;
    history.seen.push({ ...record, offset: 9_999n, id: `bank-commands/${record.partition}/9999`, n });
    asRead(history);
    const at = history.seen.length;
    history.calls = [...history.calls, { ...call, n, invokedAt: at, answeredAt: at + 1, ...more }];
  };

  it.each<[string, string[], (history: OpenHistory) => void]>([
    [
      'a reading one that was answered a state that was over',
      ['linearizability'],
      (history) =>
        change(
          history,
          callOf(history, (call) => by('Look')(call) && (call.answer?.changes ?? 0) > 0),
          { answer: { balance: 0, changes: 0 } },
        ),
    ],
    [
      'an answer that no state is',
      ['linearizability'],
      (history) => change(history, callOf(history, by('Put')), { answer: { balance: -1, changes: 1 } }),
    ],
    [
      'a forward whose answer is another one’s',
      ['linearizability'],
      (history) => change(history, callOf(history, by('Send')), { answer: { balance: -1, changes: 1 } }),
    ],
    [
      'one that took effect before it was made',
      ['linearizability'],
      (history) =>
        change(history, callOf(history, by('Put')), { invokedAt: Number.MAX_VALUE, answeredAt: Number.MAX_VALUE }),
    ],
    [
      'one that was answered and never came to the log',
      ['linearizability'],
      (history) => {
        const call = callOf(history, by('Put'));
        history.calls = [...history.calls, { ...call, n: history.calls.length }];
      },
    ],
    ['one that was answered and did nothing', ['linearizability', 'lost'], (history) => addRefused(history, {})],
    [
      'one that failed and took effect',
      ['call'],
      (history) => change(history, callOf(history, by('Add')), { outcome: 'failed' }),
    ],
    ['one that failed for no reason', ['call'], (history) => addRefused(history, { outcome: 'failed' })],
    [
      'one without a key that is in the log twice',
      ['doubled'],
      (history) => {
        again(history, callOf(history, by('Look', false)));
      },
    ],
    [
      'one with a key that took effect twice',
      ['doubled', 'journal'],
      (history) => {
        const call = callOf(history, by('Put', true));
        const { rest } = recordsOf(history, call);
        const { id, to } = again(history, call);
        for (const [i, one] of rest.entries()) {
          history.seen.push({ ...one, offset: 9_999n + BigInt(i), id: one.id.replace(id, to) });
        }
        asRead(history);
      },
    ],
    [
      'a command of a call that nobody made',
      ['invented'],
      (history) => {
        const { id } = recordsOf(history, callOf(history, by('Look')));
        const at = history.seen.findIndex((one) => one.id === id);
        replace(history, at, { n: 10_000 });
        history.seen = history.seen.filter((one) => !one.id.startsWith(`${id}/`));
        asRead(history);
      },
    ],
  ])('%s', (_, kinds, change) => {
    expect(kindsAfter(change)).toEqual(kinds);
  });

  it.each<[string, (history: OpenHistory) => void]>([
    [
      'nobody knows of, and that took effect',
      (history) => {
        const { answer: _, answeredAt: __, ...call } = callOf(history, by('Add'));
        history.calls = history.calls.map((one) => (one.n === call.n ? { ...call, outcome: 'unknown' } : one));
      },
    ],
    [
      'nobody knows of, and that was refused for a reason',
      (history) => {
        addRefused(history, { outcome: 'unknown' });
        history.excusable = ['FUNCTION_TIMEOUT'];
      },
    ],
    [
      'nobody knows of, and that never came to the log',
      (history) => {
        const call = callOf(history, by('Put'));
        history.calls = [...history.calls, { ...call, n: history.calls.length, outcome: 'unknown', invokedAt: 0 }];
      },
    ],
    [
      'has a key, is in the log twice, and took effect once',
      (history) => {
        const call = callOf(history, by('Put', true));
        again(history, call);
        change(history, call, { outcome: 'repeated' });
      },
    ],
  ])('but not one that %s', (_, change) => {
    expect(kindsAfter(change)).toEqual([]);
  });
});

it('what is missing is counted while it is waited for', () => {
  const history = make();
  const before = history.seen.length;
  history.seen = history.seen.filter(({ topic }) => topic !== 'replies');
  const answers = before - history.seen.length;
  expect(missingOutputs(history, history.seen)).toBe(answers);
});
