import type { DemoOptions, Io, LocalRequest } from '../cli/context.ts';
import { formatFindings, summaryLines } from '../verify/report.ts';
import { createFramedDecode } from './avro.ts';
import { createDecode, type Decode } from './decode.ts';
import { type Expected, expectedOf } from './expected.ts';
import { gatherFacts } from './facts.ts';
import { type Flight, loadFlights } from './flights.ts';
import { TOPICS } from './ground.ts';
import { showHistory } from './history.ts';
import { judge, type Verdict } from './judge.ts';
import { howToGoOn } from './keep.ts';
import { createProgress } from './progress.ts';
import { formatFaults, formatMeasured, formatTallies } from './report.ts';
import { runFlights } from './run-flights.ts';
import { openScene, type Scene, withTails } from './scene.ts';
import { verified } from './verified.ts';

/**
 * `stateferry demo`: real servers, a real function, the real engine, 20,000 real flights, two kills; then everything
 * that came out is held against what had to. 0 only if all of it holds.
 */
export async function demo(request: LocalRequest, options: DemoOptions, io: Io): Promise<number> {
  const began = performance.now();
  const progress = createProgress(io.out);
  let scene: Scene | undefined;
  try {
    const flights = loadFlights();
    const expected = expectedOf(flights);
    scene = await openScene({ request, env: options.env, avro: options.avro, signal: io.signal, say: progress.say });
    const { registry } = scene.addresses;
    const decode = createDecode(registry === undefined ? undefined : await createFramedDecode(registry));
    if (options.history) {
      const ok = await showHistory(scene, { flights, decode, progress, out: io.out, began });
      if (options.keep) {
        io.out.write(`\n${howToGoOn(scene)}`);
        await scene.keep();
      }
      return ok ? 0 : 1;
    }
    const { kills, measured } = await runFlights(scene, { flights, expected, decode, progress }).catch(
      async (error: unknown) => {
        if (scene !== undefined && !scene.signal.aborted) {
          const published = flights.slice(0, scene.publisher.published());
          const stuck = await check(scene, published, expectedOf(published), decode);
          io.out.write(`\n${formatTallies(stuck)}\n${formatFaults(stuck)}\n`);
        }
        throw error;
      },
    );
    progress.say('Checking everything against a computation of its own');
    const found = await check(scene, flights, expected, decode);
    const immortal = kills.filter(({ survived }) => !survived).map(({ name }) => `SIGKILL did not end ${name}`);
    const report = await verified(scene.config, progress, scene.signal);
    const verdict = { ...found, faults: [...found.faults, ...immortal, ...formatFindings(report)] };
    const held = verdict.faults.length === 0;
    const figures = formatMeasured({ kills, measured, held, took: performance.now() - began });
    io.out.write(
      `\n${formatTallies(verdict)}\n${figures}\nstateferry verify\n${summaryLines(report)}\n${formatFaults(verdict)}`,
    );
    if (options.keep) {
      io.out.write(`\n${howToGoOn(scene)}`);
      await scene.keep();
    }
    return held ? 0 : 1;
  } catch (error) {
    progress.end();
    if (!io.signal.aborted) throw scene === undefined ? error : await withTails(error, scene.tails);
    progress.say('Stopped before the end: nothing was checked.');
    return 1;
  } finally {
    await scene?.close();
  }
}

async function check(scene: Scene, flights: readonly Flight[], expected: Expected, decode: Decode): Promise<Verdict> {
  return judge({
    flights: flights.length,
    expected,
    facts: await gatherFacts(scene),
    decode,
    names: { input: TOPICS.flights, commands: TOPICS.commands, entityType: 'airports' },
  });
}
