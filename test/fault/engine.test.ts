import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, it } from 'vitest';
import { temporaryFolder } from '../support/folder.ts';
import { startEngine } from './engine.ts';

it.for([
  ['stops', 'process.exit(0)', true, 0],
  // As at a point where it was to be killed, which it reaches as it drains.
  ['is killed by a fault as it stops', 'process.kill(process.pid, "SIGKILL")', true, 'SIGKILL'],
  ['does not stop', '', false, 'SIGKILL'],
] as const)('an engine that %s: is it in time', async ([, onStop, inTime, exit], t) => {
  const program = path.join(await temporaryFolder(t), 'engine.mjs');
  await writeFile(
    program,
    `import { writeSync } from 'node:fs';
     process.on('SIGTERM', () => { ${onStop} });
     process.stdin.resume();
     writeSync(3, JSON.stringify({ kind: 'listening', port: 1 }) + '\\n');`,
  );
  const engine = await startEngine(t, { program, order: { config: {} }, logFile: `${program}.log` });
  // Long for one that stops by itself, and short for the one that is waited for.
  expect(await engine.stop(inTime ? 30_000 : 300)).toBe(inTime);
  expect(engine.exit).toBe(exit);
});
