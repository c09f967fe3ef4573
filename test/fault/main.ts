import { appendFile, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { checkMutation, isCaught } from './mutation-checks.ts';
import { MUTATION_NAMES, MUTATIONS, type MutationName } from './mutations.ts';
import { describePlanned, FAMILIES, type FaultKind, KINDS, planFaults, type RunOptions } from './plan.ts';
import { type RunResult, runFaults } from './run.ts';
import { summaryOf } from './summary.ts';

/*
 * `npm run test:fault`: see docs/reliability.md.
 */

const program = new Command('test:fault')
  .description('Runs engines under load and faults, and checks what came of every command.')
  .option('--seed <n>', 'of the first run; the same seed gives the same plan', '1')
  .option('--seeds <count>', 'so many runs, with seeds that follow', '1')
  .option('--minutes <m>', 'of the phase with faults, per run', '3')
  .option('--brokers <n>', '1 or 3', '1')
  .option('--engines <n>', 'engines without a fault: 1 to 3', '2')
  .option('--rate <n>', 'commands per second', '100')
  .option('--calls <n>', 'calls per second at the doors', '20')
  .option('--faults <names>', `of ${Object.keys(FAMILIES).join(', ')}, or single kinds, or none`, 'all')
  .option('--mutation <name>', `break the engine: ${MUTATION_NAMES.join(', ')}`)
  .option('--mutations', 'show that each of the nine ways to break the engine is caught, and that nothing else is')
  .option('--plan', 'print the plan and end')
  .option('--summary <file>', 'print the results in a file of --out as Markdown, and end')
  .option('--out <file>', 'append the result, a line of JSON for each run');
program.parse();
const given = program.opts<{
  seed: string;
  seeds: string;
  minutes: string;
  brokers: string;
  engines: string;
  rate: string;
  calls: string;
  faults: string;
  mutation?: MutationName;
  mutations?: true;
  plan?: true;
  summary?: string;
  out?: string;
}>();

const say = (line: string): void => void process.stdout.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`);

function kindsOf(names: string): FaultKind[] {
  if (names === 'none') return [];
  if (names === 'all') return [...KINDS];
  return names.split(',').flatMap((name) => {
    if (name in FAMILIES) return [...FAMILIES[name as keyof typeof FAMILIES]];
    if ((KINDS as readonly string[]).includes(name)) return [name as FaultKind];
    throw new Error(`--faults: ${name} is none of ${[...Object.keys(FAMILIES), ...KINDS].join(', ')}`);
  });
}

const engine = path.join(path.dirname(fileURLToPath(import.meta.url)), 'engine-child.js');
let failed = false;

/** Each check on the engine as it is, which must pass, and on the broken one, which must not. */
async function checkMutations(names: readonly MutationName[]): Promise<void> {
  for (const name of names) {
    for (const broken of [false, true]) {
      const result = await checkMutation(name, {
        program: engine,
        seed: Number(given.seed),
        broken,
        log: () => undefined,
      });
      const found = result.violations.length;
      const right = broken ? isCaught(name, result) : found === 0;
      if (!right) failed = true;
      else if (result.kept !== null) await rm(result.kept, { recursive: true, force: true });
      say(
        `${right ? 'right' : 'WRONG'}  ${name} ${broken ? `(${MUTATIONS[name].breaks})` : 'not broken'}: ${found} violations` +
          `${found > 0 ? `, first ${result.violations[0]}` : ''}${right ? '' : ` (${result.kept})`}`,
      );
    }
  }
}

if (given.summary !== undefined) {
  const lines = (await readFile(given.summary, 'utf8')).split('\n').filter((line) => line !== '');
  process.stdout.write(`${summaryOf(lines.map((line) => JSON.parse(line) as RunResult))}\n`);
  process.exit(0);
}

if (given.mutations === true) {
  await checkMutations(given.mutation === undefined ? MUTATION_NAMES : [given.mutation]);
  process.exit(failed ? 1 : 0);
}
for (let nth = 0; nth < Number(given.seeds); nth++) {
  const options: RunOptions = {
    seed: Number(given.seed) + nth,
    minutes: Number(given.minutes),
    brokers: given.brokers === '3' ? 3 : 1,
    engines: Number(given.engines),
    perSecond: Number(given.rate),
    callsPerSecond: Number(given.calls),
    faults: kindsOf(given.faults),
  };
  say(`seed ${options.seed} ${JSON.stringify({ ...options, ...(given.mutation && { mutation: given.mutation }) })}`);
  if (given.plan === true) {
    for (const planned of planFaults(options)) say(describePlanned(planned));
    continue;
  }
  let result: RunResult;
  try {
    result = await runFaults({
      options,
      program: engine,
      ...(given.mutation !== undefined && { mutation: given.mutation }),
      log: say,
    });
  } catch (error) {
    // The harness itself, or a server of its own: it says nothing about the engine, and it is no pass.
    say(`seed ${options.seed} came to no verdict: ${error instanceof Error ? error.stack : String(error)}`);
    failed = true;
    continue;
  }
  if (given.out !== undefined) await appendFile(given.out, `${JSON.stringify(result)}\n`);
  say(JSON.stringify({ ...result, violations: result.violations.slice(0, 20) }));
  if (result.violations.length > 0) failed = true;
}
process.exit(failed ? 1 : 0);
