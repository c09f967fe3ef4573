import { SingleBar } from 'cli-progress';
import type { Output } from '../cli/context.ts';
import type { Steps } from '../verify/steps.ts';

/** Without a terminal, a line so often at most. */
const LINE_EVERY_MS = 2_000;

/** Shows how a verification goes on: a bar on a terminal, now and then a line elsewhere. */
export function createSteps(out: Output): Steps & { end(): void } {
  const start = performance.now();
  let bar: SingleBar | undefined;
  let step = '';
  let total = 0;
  let done = 0;
  let unit = '';
  let lastLine = start;
  const stamped = (line: string) => `${((performance.now() - start) / 1000).toFixed(1).padStart(5)} s  ${line}\n`;
  const end = (): void => {
    bar?.stop();
    bar = undefined;
  };
  return {
    begin(name, outOf) {
      [step, total, done] = [name, outOf, 0];
      if (out.isTTY !== true) return;
      if (bar === undefined) {
        bar = new SingleBar({
          // A terminal is one of the process's own streams.
          stream: out as unknown as NodeJS.WriteStream,
          format: '{bar} {value}/{total}  {step}',
          barsize: 30,
          barCompleteChar: '█',
          barIncompleteChar: '░',
          clearOnComplete: true,
          hideCursor: true,
          gracefulExit: false,
        });
        bar.start(total, 0, { step });
      } else {
        bar.setTotal(total);
        bar.update(0, { step });
      }
    },
    count(what, by = 1) {
      unit = what;
      done += by;
      bar?.update(Math.min(done, total));
      if (bar !== undefined || performance.now() - lastLine < LINE_EVERY_MS) return;
      lastLine = performance.now();
      out.write(stamped(`${step}: ${done.toLocaleString('en')} of ${total.toLocaleString('en')} ${unit}`));
    },
    say(line) {
      end();
      out.write(stamped(line));
    },
    end,
  };
}
