import type { DeploymentPlan } from '../deployment-plan.ts';

export type TopicRole = 'input' | 'replies' | 'events' | 'commands' | 'answers' | 'dead letters';

/** A topic that a deployment needs, and what the brokers have of it. */
export interface TopicState {
  readonly topic: string;
  readonly roles: readonly TopicRole[];
  /** Whether partition n of it belongs to shard n: input topics and the command topic. */
  readonly sharded: boolean;
  /** Undefined: it is not there. */
  readonly partitions: number | undefined;
  /** `misfit`: sharded, and with another number of partitions than most of the sharded topics. */
  readonly state: 'present' | 'missing' | 'misfit';
}

/** Every topic of the plan, inputs first and our own last, against the partition counts of those that exist. Pure. */
export function surveyTopics(
  { routes, topics }: DeploymentPlan,
  counts: ReadonlyMap<string, number>,
): readonly TopicState[] {
  const roles = new Map<string, TopicRole[]>();
  const add = (topic: string, role: TopicRole): void => {
    const known = roles.get(topic) ?? [];
    if (!known.includes(role)) roles.set(topic, [...known, role]);
  };
  for (const topic of topics.inputs) add(topic, 'input');
  for (const list of routes.replies.values()) for (const { topic } of list) add(topic, 'replies');
  for (const list of routes.events.values()) for (const { topic } of list) add(topic, 'events');
  add(topics.internal.commands, 'commands');
  add(topics.internal.answers, 'answers');
  add(topics.internal.deadLetters, 'dead letters');

  const sharded = new Set([...topics.inputs, topics.internal.commands]);
  const shards = mostFrequent([...sharded].flatMap((topic) => counts.get(topic) ?? []));
  return [...roles].map(([topic, held]) => {
    const partitions = counts.get(topic);
    const fits = !sharded.has(topic) || partitions === shards;
    return {
      topic,
      roles: held,
      sharded: sharded.has(topic),
      partitions,
      state: partitions === undefined ? 'missing' : fits ? 'present' : 'misfit',
    };
  });
}

/** The value that most of them have; of equally many, the first. */
function mostFrequent(values: readonly number[]): number | undefined {
  const seen = new Map<number, number>();
  for (const value of values) seen.set(value, (seen.get(value) ?? 0) + 1);
  return [...seen].sort(([, a], [, b]) => b - a)[0]?.[0];
}
