import pg from 'pg';
import type { Io, VerifyCliOptions } from '../cli/context.ts';
import type { Config } from '../config/config.ts';
import { planDeployment } from '../deployment-plan.ts';
import { createFunctionClient } from '../functions/client.ts';
import { createPool } from '../journal/pool.ts';
import { servingConfig } from '../live-generation.ts';
import { readFunctionFiles } from '../named-files.ts';
import { maskSecrets } from '../observe/mask.ts';
import { postgresServer } from '../postgres-connection.ts';
import { createFramedValues } from '../registry/framed-values.ts';
import { planSchemas, registryClient } from '../schemas.ts';
import { registerCodecs } from '../topics/codecs.ts';
import { missingTopics, partitionCounts } from '../topics/ensure.ts';
import { compactedTopics } from '../topics/limits.ts';
import { openPartitionLogs } from '../topics/partition-log.ts';
import { formatReport } from '../verify/report.ts';
import { type Report, type VerifyOptions, verify as verifyDeployment } from '../verify/verify.ts';
import { discoverOnce, probeNamed } from './ask-function.ts';
import { reasonOrRights } from './lacking-rights.ts';
import { quietKafka } from './quiet-kafka.ts';
import { reachable } from './reachable.ts';
import { createSteps } from './verify-steps.ts';

/** One query may sort or count everything. */
const STATEMENT_TIMEOUT_MS = 3_600_000;
/** The broker looks for transactions that are open too long every 10 s (`transaction.abort.timed.out.transaction.cleanup.interval.ms`). */
const ABORTED_WITHIN_MS = 15_000;

const NOT_CHECKED = 2;
/** SQLSTATE of undefined_table and undefined_column. */
const OLDER_SCHEMA: ReadonlySet<string> = new Set(['42P01', '42703']);

/** `stateferry verify`: 0 when all holds, 1 when something does not, 2 when it could not be checked. */
export async function verify(config: Config, options: VerifyCliOptions, io: Io): Promise<number> {
  let report: Report;
  try {
    report = await judge(config, options, io);
  } catch (error) {
    const reason = io.signal.aborted ? 'stopped before the end' : maskSecrets(reasonOf(error));
    io.err.write(`stateferry: not verified: ${reason}\n`);
    return NOT_CHECKED;
  }
  io.out.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : formatReport(report));
  return report.held ? 0 : 1;
}

function reasonOf(error: unknown): string {
  if (!(error instanceof pg.DatabaseError) || !OLDER_SCHEMA.has(error.code ?? ''))
    return reasonOrRights(error, 'verify');
  return `the journal is not of this version (${error.message}): start a process of this version on it first`;
}

/**
 * Judges a deployment; `verify` without the printing.
 * @throws StateferryError when something that it needs is away, or is not what the configuration says.
 */
export async function judge(
  configured: Config,
  options: Omit<VerifyCliOptions, 'json'> & Pick<VerifyOptions, 'passIdentities'>,
  io: Pick<Io, 'err' | 'signal'>,
): Promise<Report> {
  registerCodecs();
  const kafka = quietKafka(configured);
  const admin = kafka.admin();
  const pool = createPool({
    ...postgresServer(configured),
    schema: configured.postgres.schema,
    size: 2,
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    applicationName: `stateferry verify ${configured.deployment.name}`,
    onIdleError: () => undefined,
  });
  const steps = createSteps(io.err);
  const closing: (() => unknown)[] = [() => pool.end(), () => steps.end()];
  try {
    // Where the journal cannot be read, this is not what there is to say first.
    const config = await servingConfig(pool, configured).catch(() => configured);
    const client = createFunctionClient(new URL(config.function.url), readFunctionFiles(config));
    closing.push(() => client.close());
    const found = await discoverOnce(client, config);
    await reachable('KAFKA_UNAVAILABLE', `no broker answers at ${config.kafka.brokers.join(', ')}`, () =>
      admin.connect(),
    );
    closing.push(() => admin.disconnect());
    await reachable('POSTGRES_UNAVAILABLE', 'the journal cannot be read', () => pool.query('select 1 from deployment'));

    const registry = registryClient(config);
    closing.push(() => registry.close());
    const { routes, topics } = planDeployment(config, found.spec);
    const inputs = [...topics.inputs, topics.internal.commands];
    const outputs = [...new Set([...topics.outputs, ...Object.values(topics.internal)])];
    const all = [...new Set([...inputs, ...outputs])];
    const partitions = await partitionCounts(admin, all);
    const missing = all.filter((topic) => !partitions.has(topic));
    if (missing.length > 0) throw missingTopics(missing);
    const logs = await openPartitionLogs(kafka, all);
    closing.push(() => logs.close());
    return await verifyDeployment({
      deployment: config.deployment.name,
      topics: {
        inputs,
        outputs,
        commands: topics.internal.commands,
        answers: topics.internal.answers,
        shared: new Set([...options.shared, ...topics.inputs]),
        compacted: await compactedTopics(admin, all),
      },
      function: {
        client,
        dialect: found.dialect,
        components: found.spec.components,
        descriptors: found.descriptors,
        ignoresSnapshots: found.spec.supportLibrary.includes('python-support'),
        deadlineMs: config.function.deadlineMs,
      },
      framed: createFramedValues(registry, planSchemas(routes, found.descriptors).outputs),
      eventDestinations: new Map(
        [...routes.events].map(([entityType, list]) => [
          entityType,
          list.map((route) => ({ ...route, partitions: partitions.get(route.topic) ?? 1 })),
        ]),
      ),
      admin,
      logs,
      pool,
      sample: options.sample,
      probes: options.probes.map((name) => probeNamed(found, name)),
      patienceMs: options.patienceMs ?? config.kafka.transactionTimeoutMs + ABORTED_WITHIN_MS,
      steps,
      signal: io.signal,
      ...(options.passIdentities !== undefined && { passIdentities: options.passIdentities }),
    });
  } finally {
    for (const close of closing.reverse()) await close();
  }
}
