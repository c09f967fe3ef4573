import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, inject, test } from 'vitest';
import { compiled } from '../support/compiled.ts';
import { temporaryFolder } from '../support/folder.ts';

const COMMANDS = 4_000;
const BASELINE_COMMANDS = 1_000;

test('the benchmark runs from end to end and finds every output there, once and in order', async (t) => {
  const folder = await compiled(t);
  const file = path.join(await temporaryFolder(t), 'results.json');

  const { stdout } = await promisify(execFile)(process.execPath, [
    path.join(folder, 'bench/main.js'),
    ...['--quick', '--long', '--long-factor', '2'],
    ...['--commands', String(COMMANDS), '--baseline-commands', String(BASELINE_COMMANDS)],
    ...['--brokers', inject('brokers').join(','), '--database-url', inject('databaseUrl'), '--json', file],
  ]);

  const results = JSON.parse(await readFile(file, 'utf8'));
  expect(results.problems).toEqual([]);
  expect(stdout).toContain('Outputs: every one there, once, in order.');
  const engine = {
    cold: { commands: COMMANDS },
    warm: { commands: COMMANDS, activeEntities: 400 },
    // 2 s at 1,000 a second.
    paced: { count: 2_000 },
    long: { commands: 2 * COMMANDS },
  };
  expect(results.engine).toMatchObject({ lean: engine, kalix: engine });
  expect(results.baselines).toMatchObject({
    'per-message': { commands: BASELINE_COMMANDS },
    batched: { commands: COMMANDS },
  });
}, 240_000);
