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
        faults: ['kill-engine-at', 'kill-engine', 'kill-function', 'lose-append', 'lose-answer', 'restart-postgres'],
      },
      program,
      log,
    });
    expect(result.violations).toEqual([]);
    expect(Object.keys(result.faults).length).toBeGreaterThan(2);
    expect(result.commands).toBeGreaterThan(500);
    expect(result.cuts).toBeGreaterThan(5);
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
