import { expect, it } from 'vitest';
import { streamLimit } from '../../src/functions/stream-limit.ts';

it.each([
  ['cloudstate-python-support 0.1.0', 9],
  ['akkaserverless-python-support 0.0.1', 1],
  ['@kalix-io/kalix-javascript-sdk 1.1.0', 10_000],
  ['', 10_000],
])('leaves a function of %s a thread for discovery where it has few: %i streams', (library, streams) => {
  expect(streamLimit(library)).toBe(streams);
});
