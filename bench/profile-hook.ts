/**
 * Preloaded into the engine's process: SIGUSR2 begins a CPU profile, the next one ends it and writes it to the file that
 * BENCH_PROFILE names. So a profile shows one part of the job and nothing of the start.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';

const file = process.env.BENCH_PROFILE;
/** µs between samples. */
const INTERVAL = 500;

if (file !== undefined) {
  const session = new Session();
  session.connect();
  let turn = session
    .post('Profiler.enable')
    .then(() => session.post('Profiler.setSamplingInterval', { interval: INTERVAL }));
  let on = false;
  process.on('SIGUSR2', () => {
    on = !on;
    turn = turn.then(
      on
        ? () => session.post('Profiler.start')
        : async () => {
            const { profile } = await session.post('Profiler.stop');
            writeFileSync(`${file}.unfinished`, JSON.stringify(profile));
            renameSync(`${file}.unfinished`, file);
          },
    );
  });
}
