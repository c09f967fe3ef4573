import { access, constants, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { DiffRequest, Io } from '../cli/context.ts';
import { type Config, internalTopics } from '../config/config.ts';
import { planDeployment } from '../deployment-plan.ts';
import { StateferryError } from '../errors.ts';
import type { Discovered } from '../functions/discovery.ts';
import { diff as compare } from '../history/diff.ts';
import { diffPage } from '../history/diff-page.ts';
import type { DiffReport } from '../history/difference.ts';
import { createPayloadReader } from '../inspect/payloads.ts';
import { readFunctionVersions } from '../journal/function-versions.ts';
import { findGeneration } from '../journal/generations.ts';
import { maskSecrets } from '../observe/mask.ts';
import { generationCommands } from '../reprocess.ts';
import { registerCodecs } from '../topics/codecs.ts';
import { partitionCounts } from '../topics/ensure.ts';
import { openPartitionLogs } from '../topics/partition-log.ts';
import { writing } from '../writing.ts';
import { discoveredAt } from './ask-function.ts';
import { formatDiff } from './diff-text.ts';
import { reasonOrRights } from './lacking-rights.ts';
import { quietKafka } from './quiet-kafka.ts';
import { reachable } from './reachable.ts';
import { createSteps } from './verify-steps.ts';
import { withJournal } from './with-journal.ts';

const NOT_COMPARED = 2;

/** `stateferry diff`: 0 when nothing differs, 1 when something does, 2 when it could not be compared. */
export async function diff(config: Config, request: DiffRequest, io: Io): Promise<number> {
  const { html } = request;
  try {
    // Not only when all has been compared.
    if (html !== undefined) await writing(html, () => access(path.dirname(html), constants.W_OK));
    const report = await judge(config, request, io);
    io.out.write(request.json ? `${JSON.stringify(report, null, 2)}\n` : formatDiff(report));
    if (html !== undefined) await writing(html, () => writeFile(html, diffPage(report)));
    return report.same ? 0 : 1;
  } catch (error) {
    const reason = io.signal.aborted ? 'stopped before the end' : maskSecrets(reasonOrRights(error, 'history'));
    const file = error instanceof StateferryError && error.code === 'FILE_UNWRITABLE';
    io.err.write(file ? `stateferry: ${reason}\n` : `stateferry: not compared: ${reason}\n`);
    return NOT_COMPARED;
  }
}

/** Compares a generation with its source; `diff` without the printing. */
export async function judge(
  config: Config,
  { name, ignore }: Pick<DiffRequest, 'name' | 'ignore'>,
  io: Pick<Io, 'err' | 'signal'>,
): Promise<DiffReport> {
  registerCodecs();
  const kafka = quietKafka(config);
  const admin = kafka.admin();
  const steps = createSteps(io.err);
  const closing: (() => unknown)[] = [() => steps.end()];
  try {
    return await withJournal(config, async ({ pool }) => {
      const generation = await findGeneration(pool, name);
      const versions: Discovered[] = [];
      for (const url of new Set([config.function.url, generation.functionUrl ?? config.function.url])) {
        versions.push(await discoveredAt({ ...config, function: { ...config.function, url } }));
      }
      await reachable('KAFKA_UNAVAILABLE', `no broker answers at ${config.kafka.brokers.join(', ')}`, () =>
        admin.connect(),
      );
      closing.push(() => admin.disconnect());
      const internal = internalTopics(config);
      const wanted = versions.flatMap(({ spec }) => planDeployment(config, spec).topics.outputs);
      const existing = await partitionCounts(admin, [...new Set([...wanted, ...Object.values(internal)])]);
      const outputs = [...new Set(wanted)].filter((topic) => existing.has(topic));
      const logs = await openPartitionLogs(kafka, [...existing.keys()]);
      closing.push(() => logs.close());
      const client = await pool.connect();
      let step = '';
      let counted = 0;
      try {
        await client.query('set statement_timeout = 0');
        return await compare({
          client,
          pool,
          logs,
          deployment: config.deployment.name,
          generation,
          topics: { ...internal, outputs, madeCommands: generationCommands(config.deployment.name, name) },
          entityTypes: new Map(
            versions.flatMap(({ spec }) =>
              [...spec.components.values()].map(({ service, entityType }) => [service, entityType] as const),
            ),
          ),
          payloads: createPayloadReader(await readFunctionVersions(pool)),
          ignore,
          progress(now, items) {
            if (now !== step) {
              steps.begin(now, items);
              counted = 0;
            }
            step = now;
            steps.count('items', items - counted);
            counted = items;
          },
          signal: io.signal,
        });
      } finally {
        client.release(true);
      }
    });
  } finally {
    for (const close of closing.reverse()) await close();
  }
}
