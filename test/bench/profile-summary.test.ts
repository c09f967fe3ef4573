import { expect, test } from 'vitest';
import { summarize } from '../../bench/profile-summary.ts';

const frame = (functionName: string, url: string) => ({ functionName, url, lineNumber: 0 });

test('time in Node and V8 counts for the package and the file that called, and idle time for nobody', () => {
  const summary = summarize({
    nodes: [
      { id: 1, callFrame: frame('(root)', ''), children: [2, 3, 6, 7] },
      { id: 2, callFrame: frame('(idle)', '') },
      { id: 3, callFrame: frame('send', 'file:///app/node_modules/kafkajs/src/producer.js'), children: [4] },
      { id: 4, callFrame: frame('alloc', 'node:buffer'), children: [5] },
      { id: 5, callFrame: frame('writeBuffer', '') },
      { id: 6, callFrame: frame('(garbage collector)', '') },
      { id: 7, callFrame: frame('decide', 'file:///app/node_modules/.cache/x/src/engine/decide.js') },
    ],
    samples: [2, 3, 4, 5, 6, 7],
    timeDeltas: [50_000, 10_000, 20_000, 30_000, 10_000, 30_000],
  });

  const [head, byPackage, byFile, self] = summary.split('\n\n');
  expect(head).toContain('busy 100 ms, idle 50 ms');
  expect(byPackage?.split('\n').slice(1)).toEqual([
    '  60.0 %      60 ms  kafkajs',
    '  30.0 %      30 ms  src/engine',
    '  10.0 %      10 ms  (garbage collector)',
  ]);
  expect(byFile).toContain('60.0 %      60 ms  kafkajs/src/producer.js');
  expect(self).toContain('20.0 %      20 ms  node:buffer');
});
