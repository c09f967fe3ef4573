import type { Io, ReprocessRequest } from '../cli/context.ts';
import { formatTable } from '../cli/table.ts';
import type { Config } from '../config/config.ts';
import { StateferryError } from '../errors.ts';
import { startPositions } from '../history/start.ts';
import { readReach } from '../journal/chunks.ts';
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
import { openPartitionLogs } from '../topics/partition-log.ts';
import { discoveredAt } from './ask-function.ts';
import { quietKafka } from './quiet-kafka.ts';
import { createSteps } from './verify-steps.ts';
import { type Journal, withJournal } from './with-journal.ts';

const PAUSED = 1;

/** `stateferry reprocess`: 0 done, 1 when it was paused or stopped before the end. */
export async function reprocess(config: Config, request: ReprocessRequest, io: Io): Promise<number> {
  switch (request.kind) {
    case 'start':
      await ask(config, request.functionUrl);
      await withJournal(config, (journal) => start(config, request, journal));
      return make(config, request, io);
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

/** A function that is not there, or none at all, is told at once: later it is waited for. */
async function ask(config: Config, functionUrl: string | undefined): Promise<void> {
  await discoveredAt({ ...config, function: { ...config.function, url: functionUrl ?? config.function.url } });
}

async function start(
  config: Config,
  request: Extract<ReprocessRequest, { kind: 'start' }>,
  { pool, generation: source }: Journal,
): Promise<void> {
  registerCodecs();
  const { from, components, perSecond } = request;
  const topics = [...new Set((await readReach(pool, source)).flatMap(({ applied }) => Object.keys(applied)))];
  const logs = await openPartitionLogs(quietKafka(config), topics);
  try {
    const starts = await startPositions(pool, logs, source, from === 'beginning' ? from : new Date(from));
    await createGeneration(pool, {
      name: request.name,
      source,
      mode: request.mode,
      functionUrl: request.functionUrl,
      options: {
        from: from === 'beginning' ? from : new Date(from).toISOString(),
        ...(components && { components }),
        ...(perSecond !== undefined && { perSecond }),
      },
      starts,
    });
  } finally {
    await logs.close();
  }
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
    // Its offsets would count for another generation of that name.
    const group = generationGroup(config.deployment.name, name);
    if ((await admin.listGroups()).groups.some(({ groupId }) => groupId === group)) await admin.deleteGroups([group]);
  } finally {
    await admin.disconnect();
  }
  io.out.write(`Generation ${name} is gone.\n`);
  return 0;
}
