import type { Config } from './config/config.ts';
import type { DeploymentPlan } from './deployment-plan.ts';

/** Operations as Kafka's tools name them. Read, Write, Delete and Alter of a resource bring Describe with them. */
export type Operation = 'Read' | 'Write' | 'Create' | 'Delete' | 'Describe' | 'DescribeConfigs' | 'Alter';

/** Operations that are allowed on one resource, or on all whose names begin so. */
export interface KafkaRight {
  readonly resource: 'topic' | 'group' | 'transactional-id' | 'cluster';
  readonly pattern: 'literal' | 'prefixed';
  readonly name: string;
  readonly operations: readonly Operation[];
}

/** A statement that grants something. */
export type PostgresRight = string;

/** What a purpose takes; each of the others besides what `run` takes. */
export interface Rights {
  readonly purpose: 'run' | 'create-topics' | 'verify' | 'history' | 'healing';
  readonly why: string;
  readonly kafka: readonly KafkaRight[];
  readonly postgres: readonly PostgresRight[];
}

/** Tables of the journal that processes write; a test holds this against the schema. `migration` is only read. */
export const JOURNAL_TABLES = [
  'chunk',
  'dead_letter',
  'deletion',
  'deployment',
  'emission',
  'entity_control',
  'event',
  'feed',
  'function_version',
  'generation',
  'held_output',
  'idempotency_key',
  'input',
  'message_type',
  'operation',
  'outbox',
  'parked',
  'removed',
  'shard',
  'snapshot',
  'value',
  'value_revision',
] as const;

/** Where Kafka keeps the offsets of groups. */
const OFFSETS_TOPIC = '__consumer_offsets';
const CLUSTER = 'kafka-cluster';

/**
 * What the deployment needs of Kafka and Postgres: `run` is enough for its processes where the topics and the journal's schema
 * are there; each other purpose is for who wants it, and needs none of the others but `run`. Pure.
 * @param role the role of Postgres that the rights are for
 */
export function rightsOf(config: Config, { topics }: DeploymentPlan, role: string): readonly Rights[] {
  const { name } = config.deployment;
  const { commands, answers, deadLetters } = topics.internal;
  const outputs = [...new Set([...topics.outputs, deadLetters])];
  const both = (topic: string): Operation[] => (topics.inputs.includes(topic) ? ['Read', 'Write'] : ['Write']);
  const topic = (each: string, ...operations: Operation[]): KafkaRight => right('topic', 'literal', each, operations);
  /** Of all that is written and that `run` does not read. */
  const published = [
    ...outputs.filter((each) => !topics.inputs.includes(each)).map((each) => topic(each, 'Read')),
    ...(config.doors.enabled ? [] : [topic(answers, 'Read')]),
  ];
  return [
    {
      purpose: 'run',
      why: 'the processes of the deployment, once its topics and the journal’s schema are there',
      kafka: [
        ...topics.inputs
          .filter((each) => !outputs.includes(each))
          .map((each) => topic(each, 'Read', 'DescribeConfigs')),
        ...outputs.map((each) => topic(each, ...both(each), 'DescribeConfigs')),
        topic(commands, 'Read', 'Write', 'DescribeConfigs'),
        topic(answers, ...(config.doors.enabled ? (['Read'] as const) : []), 'Write', 'DescribeConfigs'),
        right('group', 'literal', name, ['Read']),
        right('transactional-id', 'prefixed', `${name}-`, ['Write']),
      ],
      postgres: runGrants(config, role),
    },
    {
      purpose: 'create-topics',
      why: 'a first start, or `stateferry topics --create`, that makes the topics which are missing',
      kafka: [...new Set([...topics.inputs, ...outputs, commands, answers])].map((each) => topic(each, 'Create')),
      postgres: [],
    },
    {
      purpose: 'verify',
      why: '`stateferry verify`, which reads what was published',
      kafka: published,
      postgres: [],
    },
    {
      purpose: 'history',
      why: '`reprocess`, `diff`, `promote` and `replay`, the latter two besides Write on the topic of --emit-differences or --to; and processes that serve a generation made by them',
      kafka: [
        ...published,
        right('topic', 'prefixed', `${name}.`, ['Read', 'Write', 'Create', 'Delete', 'DescribeConfigs']),
        right('group', 'prefixed', `${name}.`, ['Read', 'Delete']),
        right('transactional-id', 'prefixed', `${name}.`, ['Write']),
      ],
      postgres: [],
    },
    {
      purpose: 'healing',
      why: 'finding and ending transactions that a dead broker left hanging (docs/architecture.md); without it a start that meets one stops and says so',
      kafka: [topic(OFFSETS_TOPIC, 'Read'), ...published, right('cluster', 'literal', CLUSTER, ['Alter'])],
      postgres: [],
    },
  ];
}

function right(
  resource: KafkaRight['resource'],
  pattern: KafkaRight['pattern'],
  name: string,
  operations: readonly Operation[],
): KafkaRight {
  return { resource, pattern, name, operations: [...operations] };
}

function runGrants({ postgres: { schema, url } }: Config, role: string): PostgresRight[] {
  const database = decodeURIComponent(new URL(url).pathname.slice(1)) || role;
  const to = quoted(role);
  const tables = JOURNAL_TABLES.map((table) => `${quoted(schema)}.${table}`).join(', ');
  return [
    `GRANT CONNECT ON DATABASE ${quoted(database)} TO ${to};`,
    `GRANT USAGE ON SCHEMA ${quoted(schema)} TO ${to};`,
    `GRANT SELECT ON ALL TABLES IN SCHEMA ${quoted(schema)} TO ${to};`,
    `GRANT INSERT, UPDATE, DELETE ON ${tables} TO ${to};`,
  ];
}

/** As Postgres quotes an identifier. */
function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** The arguments with which `kafka-acls.sh` gives the right to the principal. */
export function aclArguments({ resource, pattern, name, operations }: KafkaRight, principal: string): string[] {
  return [
    '--add',
    '--allow-principal',
    principal,
    ...operations.flatMap((operation) => ['--operation', operation]),
    ...(resource === 'cluster' ? ['--cluster'] : [`--${resource}`, name, '--resource-pattern-type', pattern]),
  ];
}
