import type { Io, TopicsOptions } from '../cli/context.ts';
import { formatTable } from '../cli/table.ts';
import type { Config } from '../config/config.ts';
import { type DeploymentPlan, planDeployment } from '../deployment-plan.ts';
import { messageOf, StateferryError } from '../errors.ts';
import { partitionCounts } from '../topics/ensure.ts';
import { ensureTopics } from '../topics/plan.ts';
import { discoverNow } from './discover-now.ts';
import { quietKafka } from './quiet-kafka.ts';
import { surveyTopics, type TopicState } from './survey-topics.ts';

/** Of input topics, where neither the user nor another input topic says how many. */
const DEFAULT_PARTITIONS = 8;

/** `stateferry topics`: asks the function, looks at the brokers, creates what is missing where asked. */
export async function topics(config: Config, options: TopicsOptions, io: Io): Promise<number> {
  const { spec } = await discoverNow(config, io);
  const plan = planDeployment(config, spec);
  const kafka = quietKafka(config);
  const admin = kafka.admin();
  try {
    await admin.connect();
  } catch (error) {
    throw new StateferryError(
      'KAFKA_UNAVAILABLE',
      `no broker answers at ${config.kafka.brokers.join(', ')}: ${messageOf(error)}. Check kafka.brokers.`,
      { cause: error },
    );
  }
  try {
    const { inputs, outputs, internal } = plan.topics;
    const all = [...inputs, ...outputs, ...Object.values(internal)];
    let states = surveyTopics(plan, await partitionCounts(admin, all));
    const absent = states.filter(({ state }) => state === 'missing').map(({ topic }) => topic);
    if (options.create && absent.length > 0) {
      refuseOtherPartitions(states, options.partitions);
      await ensureTopics(admin, plan.topics, {
        createOutputs: true,
        ownPartitions: config.deployment.shards,
        inputPartitions: options.partitions ?? DEFAULT_PARTITIONS,
        replicationFactor: config.kafka.replicationFactor,
      });
      states = surveyTopics(plan, await partitionCounts(admin, all));
    }
    const created = new Set(options.create ? absent : []);
    io.out.write(tableOf(states, created));
    const verdict = verdictOf(plan, states);
    io.out.write(verdict.lines.map((line) => `${line}\n`).join(''));
    return verdict.code;
  } finally {
    await admin.disconnect();
  }
}

/** `--partitions` beside topics that already set another number would be a wish that nothing can fulfil. */
function refuseOtherPartitions(states: readonly TopicState[], wanted: number | undefined): void {
  if (wanted === undefined || !states.some(({ roles, state }) => roles.includes('input') && state === 'missing'))
    return;
  const other = states.find(({ sharded, partitions }) => sharded && partitions !== undefined && partitions !== wanted);
  if (other === undefined) return;
  throw new StateferryError(
    'TOPIC_PARTITIONS',
    `"${other.topic}" has ${other.partitions} partitions, and --partitions asks for ${wanted} for the input topics to create; ` +
      'all input topics of a deployment and its command topic need the same number. Nothing was created.',
  );
}

function tableOf(states: readonly TopicState[], created: ReadonlySet<string>): string {
  const rows = states.map(({ topic, roles, partitions, state }) => [
    topic,
    roles.join(', '),
    partitions === undefined ? '-' : String(partitions),
    state === 'present' && created.has(topic) ? 'created' : state,
  ]);
  return formatTable(['TOPIC', 'ROLE', 'PARTITIONS', 'STATE'], rows, new Set(['PARTITIONS']));
}

/** Whether `run` would start on these topics, and what to do if not. */
function verdictOf({ topics }: DeploymentPlan, states: readonly TopicState[]): { code: number; lines: string[] } {
  const lines: string[] = [];
  const quote = (list: readonly TopicState[]) => list.map(({ topic }) => `"${topic}"`).join(', ');
  const misfits = states.filter(({ state }) => state === 'misfit');
  const own = new Set<string>(Object.values(topics.internal));
  const missing = states.filter(({ state, topic }) => state === 'missing' && !own.has(topic));
  const missingOwn = states.filter(({ state, topic }) => state === 'missing' && own.has(topic));
  if (misfits.length > 0) {
    lines.push(
      `Input topics and the command topic need the same number of partitions, and ${quote(misfits)} differ: ` +
        'recreate them, or run them as separate deployments.',
    );
  }
  if (missing.length > 0) lines.push(`Missing: ${quote(missing)}. \`stateferry topics --create\` creates them.`);
  if (missingOwn.length > 0) lines.push(`Created by \`stateferry run\` when it starts: ${quote(missingOwn)}.`);
  return { code: misfits.length + missing.length > 0 ? 1 : 0, lines };
}
