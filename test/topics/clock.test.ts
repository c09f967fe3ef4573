import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { watchClock } from '../../src/topics/clock.ts';

const EVERY_MS = 100;
let wall = 0;
let monotonic = 0;
let told: number[] = [];
let stop: () => void;

beforeEach(() => {
  vi.useFakeTimers();
  wall = 1_000_000;
  monotonic = 0;
  told = [];
  stop = watchClock({
    everyMs: EVERY_MS,
    toleranceMs: 1_000,
    onBack: (byMs) => told.push(byMs),
    clocks: { wall: () => wall, monotonic: () => monotonic },
  });
});
afterEach(() => {
  stop();
  vi.useRealTimers();
});

/** The next look, with the time of day moved by so many ms besides. */
function look(movedMs = 0): void {
  wall += EVERY_MS + movedMs;
  monotonic += EVERY_MS;
  vi.advanceTimersByTime(EVERY_MS);
}

it('a clock that goes back is told of once, and by how much', () => {
  look();
  look(-3_600_000);
  look();
  look();
  expect(told).toEqual([3_600_000]);
});

it('a clock that goes forward, or back by little, is no matter; what comes back after a jump forward is', () => {
  look(3_600_000);
  look(-1_000);
  expect(told).toEqual([]);
  look(-3_600_000);
  expect(told).toEqual([3_600_000]);
});

it('a process that slept has not gone back', () => {
  wall += 60_000;
  monotonic += 60_000;
  look();
  expect(told).toEqual([]);
});
