import type { Io, ReprocessRequest } from '../cli/context.ts';
import { formatTable } from '../cli/table.ts';
import type { Config } from '../config/config.ts';
import { emissionGroup } from '../emit-differences.ts';
import { StateferryError } from '../errors.ts';
import { startPlaces } from '../history/start.ts';
import { readReach } from '../journal/chunks.ts';
import { beginCopy, copyEvents } from '../journal/copied-state.ts';
import { readFunctionVersions } from '../journal/function-versions.ts';
import {
  createGeneration,
  findGeneration,
  type Generation,
  readGenerations,
  removeGeneration,
  setGenerationState,
} from '../journal/generations.ts';
import { createLog } from '../observe/log.ts';
import { generationCommands, generationGroup, reprocess as makeGeneration } from '../reprocess.ts';
import { registerCodecs } from '../topics/codecs.ts';
import { dropGroup } from '../topics/offsets.ts';
import { openPartitionLogs } from '../topics/partition-log.ts';
import { discoveredAt } from './ask-function.ts';
import { createProgress } from './inspect/progress.ts';
import { quietKafka } from './quiet-kafka.ts';
import { createSteps } from './verify-steps.ts';
import { type Journal, withJournal } from './with-journal.ts';

const PAUSED = 1;

/** `stateferry reprocess`: 0 done, 1 when it was paused or stopped before the end. */
export async function reprocess(config: Config, request: ReprocessRequest, io: Io): Promise<number> {
  switch (request.kind) {
    case 'start':
      await ask(config, request.functionUrl);
      if (await withJournal(config, (journal) => start(config, request, journal, io))) return make(config, request, io);
      io.out.write(`Generation ${request.name} does not have all of its state yet. The same command goes on.\n`);
      return PAUSED;
    case 'run':
      await ask(config, (await withJournal(config, ({ pool }) => findGeneration(pool, request.name))).functionUrl);
      return make(config, request, io);
    case 'list':
      return withJournal(config, (journal) => list(request, journal, io));
    case 'pause':
      return withJournal(config, (journal) => pause(request.name, journal, io));
    case 'discard':
      return withJournal(config, (journal) => discard(config, request.name, journal, io));
  }
}

type StartRequest = Extract<ReprocessRequest, { kind: 'start' }>;

/** A function that is not there, or none at all, is told at once: later it is waited for. */
async function ask(config: Config, functionUrl: string | undefined): Promise<void> {
  await discoveredAt({ ...config, function: { ...config.function, url: functionUrl ?? config.function.url } });
}

/** Makes the generation, with the state that it begins with. False: it was stopped before it had all of that. */
async function start(
  config: Config,
  request: StartRequest,
  { pool, generation: source }: Journal,
  io: Io,
): Promise<boolean> {
  if (request.state !== undefined && request.mode !== 'isolated') {
    throw new StateferryError(
      'OPERATION_REFUSED',
      'what entities had sent each other and was on its way where a generation begins cannot be made anew: --state live is for --mode isolated.',
    );
  }
  const generations = await readGenerations(pool);
  const begun = generations.find(({ name }) => name === request.name);
  if (begun?.state === 'copying' && request.state === 'live') return goOnCopying(request, pool, begun, io);
  registerCodecs();
  const { name, mode, functionUrl, from, state, components, perSecond } = request;
  const topics = [...new Set((await readReach(pool, source)).flatMap(({ applied }) => Object.keys(applied)))];
  const logs = await openPartitionLogs(quietKafka(config), topics);
  try {
    const wanted = {
      name,
      source,
      mode,
      functionUrl,
      options: {
        from: from === 'beginning' ? from : new Date(from).toISOString(),
        ...(state && { state }),
        ...(components && { components }),
        ...(perSecond !== undefined && { perSecond }),
      },
    };
    const at = from !== 'beginning' ? new Date(from) : state === undefined ? from : 'earliest';
    const serving = generations.find(({ generation }) => generation === source);
    const ownCommands =
      serving?.mode === 'cascade' ? generationCommands(config.deployment.name, serving.name) : undefined;
    const starts = await startPlaces(pool, logs, source, { start: at, mode, ownCommands });
    if (state === undefined) {
      const positions = new Map([...starts].map(([shard, place]) => [shard, place.positions]));
      await createGeneration(pool, { ...wanted, state: 'running', starts: positions });
      return true;
    }
    // Unless its own source begins with the state of another one.
    const isWhole = (await readReach(pool, source)).every(
      ({ shard, first }) => first !== 0 && starts.get(shard)?.chunk === 0,
    );
    if (isWhole) {
      throw new StateferryError(
        'OPERATION_REFUSED',
        'the generation would begin where history does, and there no entity has a state: leave --state out, or say where it is to begin (--from).',
      );
    }
    const entityTypes = components && (await entityTypesOf(pool, components));
    return copying(io, async (onRows) => {
      const made = await beginCopy(pool, { wanted, starts, entityTypes, onRows, signal: io.signal });
      await copyEvents(pool, made, { onRows, signal: io.signal });
    });
  } finally {
    await logs.close();
  }
}

async function goOnCopying(request: StartRequest, pool: Journal['pool'], begun: Generation, io: Io): Promise<boolean> {
  const asked = [request.mode, request.functionUrl, request.components?.join(), request.perSecond];
  const { mode, functionUrl, options } = begun;
  const had = [mode, functionUrl, options.components?.join(), options.perSecond];
  if (asked.some((one, i) => one !== had[i])) {
    throw new StateferryError(
      'OPERATION_REFUSED',
      `generation "${begun.name}" was begun with another --mode, --function, --component or --rate, and is not whole yet: give those again, or discard it (\`stateferry reprocess discard ${begun.name}\`).`,
    );
  }
  io.err.write(
    `Generation ${begun.name} was begun already, from ${options.from} on: it goes on with the copy of its state.\n`,
  );
  return copying(io, (onRows) => copyEvents(pool, begun, { onRows, signal: io.signal }));
}

/** Copies with a word about how far it is. False: it was stopped. */
async function copying(
  io: Io,
  copy: (onRows: (what: string, rows: number) => void) => Promise<void>,
): Promise<boolean> {
  const progress = createProgress(io.err);
  const sums = new Map<string, number>();
  progress.now('waiting until retention is not at work');
  try {
    await copy((what, rows) => {
      const sum = (sums.get(what) ?? 0) + rows;
      sums.set(what, sum);
      progress.now(`copying the state, ${sum.toLocaleString('en')} rows of ${what} so far`);
    });
    return true;
  } catch (error) {
    if (!io.signal.aborted) throw error;
    return false;
  } finally {
    progress.end();
  }
}

/** Entity types of services, of all versions of the function that there were. */
async function entityTypesOf(pool: Journal['pool'], services: readonly string[]): Promise<string[]> {
  const known = (await readFunctionVersions(pool)).flatMap(({ components }) => components);
  return known.filter(({ service }) => services.includes(service)).map(({ entityType }) => entityType);
}

async function make(config: Config, request: { name: string; follow: boolean }, io: Io): Promise<number> {
  const { name, follow } = request;
  const steps = createSteps(io.err);
  let begun = false;
  let shown = 0;
  try {
    const outcome = await makeGeneration(
      {
        config,
        name,
        follow,
        log: createLog({ ...config.log, level: 'error' }),
        onProgress({ applied, total }) {
          if (!begun) steps.begin(`making ${name}`, total);
          begun = true;
          steps.count('records', applied - shown);
          shown = applied;
        },
      },
      io.signal,
    );
    steps.end();
    const how = { complete: 'is complete', paused: 'is paused', stopped: 'is not complete' }[outcome];
    io.out.write(`Generation ${name} ${how}: ${shown.toLocaleString('en')} input records applied.\n`);
    if (outcome !== 'complete') io.out.write(`Go on: stateferry reprocess run ${name}\n`);
    return outcome === 'complete' ? 0 : PAUSED;
  } finally {
    steps.end();
  }
}

async function list({ json }: { json: boolean }, { pool, generation: live }: Journal, io: Io): Promise<number> {
  const generations = await readGenerations(pool);
  const rows = await Promise.all(
    generations.map(async (generation) => {
      const records = await countRecords(pool, generation);
      return { ...generation, isLive: generation.generation === live, records };
    }),
  );
  if (json) io.out.write(`${JSON.stringify(rows, null, 2)}\n`);
  else if (rows.length === 0) io.out.write('There is no generation but the first one, which is live.\n');
  else {
    io.out.write(
      formatTable(
        ['NAME', 'GENERATION', 'STATE', 'MODE', 'FROM', 'RECORDS', 'FUNCTION', 'CREATED'],
        rows.map((row) => [
          row.name,
          String(row.generation),
          row.state,
          row.mode,
          row.options.from,
          String(row.records),
          row.functionUrl ?? '',
          row.createdAt.toISOString(),
        ]),
        new Set(['GENERATION', 'RECORDS']),
      ),
    );
  }
  return 0;
}

async function countRecords(pool: Journal['pool'], { generation }: Generation): Promise<number> {
  const { rows } = await pool.query<{ records: number | null }>(
    'select sum(records)::bigint as records from shard where generation = $1',
    [generation],
  );
  return rows[0]?.records ?? 0;
}

async function pause(name: string, { pool }: Journal, io: Io): Promise<number> {
  const found = await findGeneration(pool, name);
  if (!(await setGenerationState(pool, found.generation, ['running', 'paused'], 'paused'))) {
    throw new StateferryError('OPERATION_REFUSED', `generation "${name}" is ${found.state}: nobody works on it.`);
  }
  io.out.write(`Generation ${name} is paused. Go on: stateferry reprocess run ${name}\n`);
  return 0;
}

async function discard(config: Config, name: string, { pool, generation: live }: Journal, io: Io): Promise<number> {
  const found = await findGeneration(pool, name);
  if (found.generation === live) {
    throw new StateferryError('OPERATION_REFUSED', `generation "${name}" is live. Roll back first.`);
  }
  await setGenerationState(pool, found.generation, [found.state], 'discarded');
  await removeGeneration(pool, found.generation);
  const admin = quietKafka(config).admin();
  await admin.connect();
  try {
    const commands = generationCommands(config.deployment.name, name);
    if ((await admin.listTopics()).includes(commands)) await admin.deleteTopics({ topics: [commands] });
    const { name: deployment } = config.deployment;
    await dropGroup(admin, generationGroup(deployment, name));
    await dropGroup(admin, emissionGroup(deployment, name));
  } finally {
    await admin.disconnect();
  }
  io.out.write(`Generation ${name} is gone.\n`);
  return 0;
}
