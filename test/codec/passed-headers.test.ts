import { expect, it } from 'vitest';
import { createPassedHeaders, MAX_PASSED, MAX_PASSED_BYTES, withPassed } from '../../src/codec/passed-headers.ts';

const entry = (key: string, value: string | Uint8Array = 'x') => ({ key, value });

it('passes the named headers and those that begin as said, in any case, repeated ones and bytes too', () => {
  const passed = createPassedHeaders(['Traceparent', 'x-tenant-*']);
  const bytes = Buffer.from([0xff]);

  expect(
    passed?.([
      entry('TRACEPARENT', '00-1'),
      entry('tracestate'),
      entry('x-tenant-id', 'a'),
      entry('x-tenant-id', 'b'),
      entry('X-Tenant-Raw', bytes),
      entry('x-tenan'),
    ]),
  ).toEqual([
    entry('traceparent', '00-1'),
    entry('x-tenant-id', 'a'),
    entry('x-tenant-id', 'b'),
    entry('x-tenant-raw', bytes),
  ]);
});

it('never passes what says what a record is', () => {
  const passed = createPassedHeaders(['c*', 's*', 'x']);

  expect(passed?.([entry('ce-id'), entry('Content-Type'), entry('stateferry-generation'), entry('custom')])).toEqual([
    entry('custom'),
  ]);
});

it('passes no more than is allowed, and always the first ones', () => {
  const passed = createPassedHeaders(['x-*']);
  const many = Array.from({ length: 40 }, (_, n) => entry(`x-${n}`));

  expect(passed?.(many)).toEqual(many.slice(0, MAX_PASSED));
  expect(passed?.([entry('x-a'), entry('x-b', 'y'.repeat(MAX_PASSED_BYTES)), entry('x-c')])).toEqual([entry('x-a')]);
});

it('is nothing without rules, and gives way to what the function gave', () => {
  expect(createPassedHeaders([])).toBeUndefined();
  expect(withPassed([entry('Tag', 'own')], [entry('tag', 'other'), entry('b')])).toEqual([
    entry('Tag', 'own'),
    entry('b'),
  ]);
});
