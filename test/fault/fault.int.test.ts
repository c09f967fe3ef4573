import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { compiled } from '../support/compiled.ts';
import { fileScope } from '../support/scope.ts';
import { checkMutation, isCaught } from './mutation-checks.ts';
import { MUTATIONS } from './mutations.ts';
import { runFaults } from './run.ts';

/*
 * The short part of the fault runs: they have servers of their own. The long part is `npm run test:fault`; what it found
 * is in docs/reliability.md.
 */
const file = fileScope();
const folder = await compiled(file, 'test/fault/tsconfig.json');
const program = path.join(folder, 'test/fault/engine-child.js');
const WITHIN_MS = 240_000;
const log = (): void => undefined;

it(
  'under killed, stopped and cut off processes every command takes effect once, and the run ends in order',
  async () => {
    const result = await runFaults({
      options: {
        seed: 34,
        minutes: 0.4,
        brokers: 1,
        engines: 2,
        perSecond: 100,
        callsPerSecond: 20,
        faults: ['kill-engine-at', 'kill-engine', 'kill-function', 'lose-append', 'lose-answer', 'restart-postgres'],
      },
      program,
      log,
    });
    expect(result.violations).toEqual([]);
    expect(Object.keys(result.faults).length).toBeGreaterThan(2);
    expect(result.commands).toBeGreaterThan(500);
    expect(result.calls).toBeGreaterThan(100);
    expect(result.cuts).toBeGreaterThan(5);
  },
  WITHIN_MS,
);

it(
  'an engine whose clock goes back by an hour goes on, and so does the rest of its group',
  async () => {
    const result = await runFaults({
      options: { seed: 5, minutes: 0.4, brokers: 1, engines: 2, perSecond: 60, callsPerSecond: 10, faults: [] },
      program,
      log,
      async script({ injector, until, slots }) {
        const back = await injector.inject({ at: 0, forMs: 0, fault: { kind: 'clock', slot: 0, byMs: 3_600_000 } });
        // It sends heartbeats by its new clock, so it owes the next one in an hour by the old one.
        const enough = performance.now() + 2_000;
        await until(WITHIN_MS, () => performance.now() > enough, 'time passes');
        await back();
        await until(WITHIN_MS, () => slots.engines[0]?.rebuilds.includes('KAFKA_UNAVAILABLE') ?? false, 'it is seen');
        await injector.inject({ at: 0, forMs: 1_000, fault: { kind: 'restart-engine', slot: 1 } });
      },
    });
    expect(result.violations).toEqual([]);
  },
  WITHIN_MS,
);

describe('an engine that is broken is found out', () => {
  it.each(['no-fence', 'two-in-flight'] as const)(
    '%s',
    async (name) => {
      const result = await checkMutation(name, { program, seed: 1, broken: true, log });
      expect(isCaught(name, result), `${MUTATIONS[name].breaks}: ${result.violations.join('\n')}`).toBe(true);
    },
    WITHIN_MS,
  );
});
