import { MultiBar, type SingleBar } from 'cli-progress';
import type { Output } from '../cli/context.ts';

/** Without a terminal, so often at most. */
const LINE_EVERY_MS = 2_000;

/** How many of each there are. */
export type Counts = Readonly<Record<string, number>>;

/** What the user sees while it runs: bars on a terminal with lines above them, lines elsewhere. */
export interface Progress {
  /** A line, with the seconds since the start. */
  say(line: string): void;
  /** Shows a bar for each, out of so many. */
  begin(totals: Counts): void;
  update(counts: Counts): void;
  /** Takes the bars away, once more with the last counts. */
  end(): void;
}

export function createProgress(out: Output): Progress {
  const start = performance.now();
  let bars: { readonly multi: MultiBar; readonly byName: ReadonlyMap<string, SingleBar> } | undefined;
  let lastLine = Number.NEGATIVE_INFINITY;
  let shown: string | undefined;

  const stamped = (line: string) => `${((performance.now() - start) / 1000).toFixed(1).padStart(5)} s  ${line}\n`;

  return {
    say(line) {
      if (bars === undefined) out.write(stamped(line));
      else bars.multi.log(stamped(line));
    },
    begin(totals) {
      shown = '';
      if (out.isTTY !== true) return;
      const width = Math.max(...Object.keys(totals).map((name) => name.length));
      const multi = new MultiBar({
        // A terminal is one of the process's own streams.
        stream: out as unknown as NodeJS.WriteStream,
        format: '         {name} {bar} {value}/{total}',
        barsize: 40,
        barCompleteChar: '█',
        barIncompleteChar: '░',
        gracefulExit: false,
      });
      const byName = Object.entries(totals).map(
        ([name, total]) => [name, multi.create(total, 0, { name: name.padEnd(width) })] as const,
      );
      bars = { multi, byName: new Map(byName) };
    },
    update(counts) {
      if (shown === undefined) return;
      if (bars !== undefined) {
        for (const [name, count] of Object.entries(counts)) bars.byName.get(name)?.update(count);
        return;
      }
      const line = Object.entries(counts)
        .map(([name, count]) => `${count.toLocaleString('en')} ${name}`)
        .join(', ');
      if (line === shown || performance.now() - lastLine < LINE_EVERY_MS) return;
      lastLine = performance.now();
      shown = line;
      out.write(stamped(line));
    },
    end() {
      shown = undefined;
      if (bars === undefined) return;
      // Lines that were said since the last redraw would go with the bars.
      bars.multi.update();
      bars.multi.stop();
      bars = undefined;
    },
  };
}
