import { expect, it } from 'vitest';
import { createDeployment } from '../support/deployment.ts';
import { compileEngine } from '../support/engine-process.ts';
import { startFunction } from '../support/function-process.ts';
import { withAdmin } from '../support/kafka.ts';
import { startLoad } from '../support/load.ts';
import { eventually } from '../support/processes.ts';
import { fileScope } from '../support/scope.ts';

const file = fileScope();
const program = await compileEngine(file);
const fn = await startFunction(file, { source: 'trouble' });
const deployment = await createDeployment(file, { program, functionUrl: fn.url });
const load = await startLoad(file, { topic: deployment.input, seed: 11, perSecond: 150 });

it('after the group of a released deployment was deleted, processes may die at once: the next one goes on', async () => {
  const first = await deployment.start();
  await load.more(100);
  await deployment.expectExact(await load.pause());
  expect(await first.stop()).toBe(0);
  await eventually('the group is deleted', () =>
    withAdmin((admin) => admin.deleteGroups([deployment.name])).then(
      () => true,
      () => false,
    ),
  );
  load.resume();

  // Before anything of theirs is emitted, if they get so far.
  for (const point of ['journaled', 'begun', 'sent'] as const) {
    const doomed = await deployment.start({ fault: { point, nth: 1, signal: 'SIGKILL' } });
    await doomed.reached(point);
    expect(await doomed.exited).toBe('SIGKILL');
  }
  const last = await deployment.start();
  await last.ready(({ shards }) => shards.length === 4);
  await load.more(100);
  await deployment.expectExact(await load.pause());
  expect(await last.stop()).toBe(0);
  await deployment.expectExactAtRest();
});
