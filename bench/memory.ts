import { residentBytes } from './proc.ts';
import type { Reader } from './reader.ts';

const EVERY_MS = 500;
const PIECES = 5;

/** Bytes. */
export interface Level {
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

/** Resident memory over a run, by fifths of its outputs. */
export interface Levels {
  readonly fifths: readonly Level[];
  /**
   * The largest share by which the median of the third, fourth or fifth fifth is away from that of the second: the first
   * is the pass in which memory may still grow. NaN where the platform does not tell, or the run was too short.
   */
  readonly drift: number;
}

/** Samples the resident memory of a process until `stop`, which must come after an output. */
export function sampleMemory(pid: number, reader: Pick<Reader, 'outputs'>): { stop(): Levels } {
  const first = reader.outputs;
  const samples: { readonly outputs: number; readonly bytes: number }[] = [];
  const sample = (): void => void samples.push({ outputs: reader.outputs - first, bytes: residentBytes(pid) });
  const timer = setInterval(sample, EVERY_MS);
  return {
    stop() {
      clearInterval(timer);
      sample();
      const total = reader.outputs - first;
      const fifths = Array.from({ length: PIECES }, (_, i) =>
        levelOf(
          samples
            .filter(({ outputs }) => Math.min(PIECES - 1, Math.floor((outputs * PIECES) / total)) === i)
            .map(({ bytes }) => bytes),
        ),
      );
      const [, second = levelOf([]), ...later] = fifths;
      return { fifths, drift: Math.max(...later.map(({ median }) => Math.abs(median / second.median - 1))) };
    },
  };
}

function levelOf(bytes: readonly number[]): Level {
  const sorted = bytes.toSorted((a, b) => a - b);
  const at = (i: number): number => sorted[i] ?? Number.NaN;
  return { min: at(0), median: at(Math.floor(sorted.length / 2)), max: at(sorted.length - 1) };
}
