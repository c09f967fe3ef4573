import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, inject, test } from 'vitest';
import { compiled } from '../support/compiled.ts';
import { temporaryFolder } from '../support/folder.ts';

test('processes come, go and die under the benchmark’s load, and every output is there, once and in order', async (t) => {
  const folder = await compiled(t);
  const file = path.join(await temporaryFolder(t), 'results.json');

  const { stdout } = await promisify(execFile)(process.execPath, [
    path.join(folder, 'bench/scale-out.js'),
    ...['--quick', '--partitions', '4', '--entities', '100', '--rate', '100'],
    // The shortest that brokers take.
    ...['--set', 'kafka.sessionTimeoutMs=6000'],
    ...['--brokers', inject('brokers').join(','), '--database-url', inject('databaseUrl'), '--json', file],
  ]);

  const { problems, pauses, recoveries } = JSON.parse(await readFile(file, 'utf8'));
  expect(problems).toEqual([]);
  expect(stdout).toContain('Outputs: every one there, once, in order.');
  const halves = { moved: [expect.any(Number), expect.any(Number)], kept: [expect.any(Number), expect.any(Number)] };
  const [calm, ...others] = pauses;
  expect(calm).toMatchObject({ event: 'calm', moved: [] });
  expect(others).toMatchObject(['join', 'leave', 'join', 'kill'].map((event) => ({ event, ...halves })));
  expect(recoveries).toMatchObject([{ entities: 100, events: 5 }]);
}, 240_000);
