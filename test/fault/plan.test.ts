import { expect, it } from 'vitest';
import {
  describePlanned,
  endsWithPartitions,
  FAMILIES,
  type FaultKind,
  KINDS,
  planFaults,
  type RunOptions,
} from './plan.ts';

const options: RunOptions = {
  seed: 7,
  minutes: 3,
  brokers: 3,
  engines: 2,
  perSecond: 100,
  callsPerSecond: 20,
  faults: KINDS,
};
const seeds = Array.from({ length: 60 }, (_, seed) => seed);

it('the same seed gives the same plan, and another seed another one', () => {
  expect(planFaults(options)).toEqual(planFaults(options));
  expect(planFaults(options)).not.toEqual(planFaults({ ...options, seed: 8 }));
});

it('every fault begins and ends within its phase, in order of time', () => {
  for (const seed of seeds) {
    const plan = planFaults({ ...options, seed });
    expect(plan.length).toBeGreaterThan(5);
    expect(plan.map(({ at }) => at)).toEqual(plan.map(({ at }) => at).sort((a, b) => a - b));
    for (const { at, forMs } of plan) expect(at + forMs).toBeLessThanOrEqual(180_000);
  }
});

it('some seeds have every kind of fault, alone and at once with others', () => {
  const plans = seeds.map((seed) => planFaults({ ...options, seed }));
  const during = KINDS.filter((kind) => kind !== 'add-partitions' && kind !== 'promote');
  expect(new Set(plans.flat().map(({ fault }) => fault.kind))).toEqual(new Set(during));
  const overlaps = plans.flatMap((plan) =>
    plan.filter((one) => plan.some((other) => other !== one && other.at < one.at && one.at < other.at + other.forMs)),
  );
  expect(overlaps.length).toBeGreaterThan(seeds.length);
  expect(overlaps.length).toBeLessThan(plans.flat().length / 2);
});

it('generations take over where no fault makes commands fail that the function would have done', () => {
  const faults = [...FAMILIES.history, ...FAMILIES.broker, 'kill-engine'] as const;
  const promotions = (more: readonly FaultKind[]) =>
    seeds
      .flatMap((seed) => planFaults({ ...options, seed, faults: [...faults, ...more] }))
      .flatMap(({ fault }) => (fault.kind === 'promote' ? [fault.killedAfterMs !== undefined] : []));
  expect(new Set(promotions([]))).toEqual(new Set([true, false]));
  expect(promotions(['link'])).toEqual([]);
  expect(promotions(['kill-function'])).toEqual([]);
});

it('what no deployment survives comes at the end of some runs', () => {
  const last = seeds.filter((seed) => endsWithPartitions({ ...options, seed }));
  expect(last.length).toBeGreaterThan(10);
  expect(last.length).toBeLessThan(30);
  expect(endsWithPartitions({ ...options, seed: last[0] ?? 0, faults: [] })).toBe(false);
});

it('without faults there is nothing to do', () => {
  expect(planFaults({ ...options, faults: [] })).toEqual([]);
});

it('a line of a plan tells what is done to what, when and for how long', () => {
  const fault = { kind: 'link', slot: 1, link: 'kafka', trouble: 'cut' } as const;
  expect(describePlanned({ at: 12_340, forMs: 2_500, fault })).toBe(
    '   12.3 s  link (slot 1, link kafka, trouble cut) for 2.5 s',
  );
});
