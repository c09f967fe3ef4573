import { type Config, internalTopics } from './config/config.ts';
import { outputTopics, planRoutes, type RoutePlan } from './engine/routes.ts';
import type { FunctionSpec } from './model/component.ts';
import { type TopicPlan, topicPlan } from './topics/plan.ts';

/** Where the records of a deployment come from and go to. */
export interface DeploymentPlan {
  readonly routes: RoutePlan;
  readonly topics: TopicPlan;
}

/**
 * What the function's annotations and the configuration make together. Pure.
 * @throws StateferryError FUNCTION_SPEC when the two do not fit.
 */
export function planDeployment(config: Config, spec: FunctionSpec): DeploymentPlan {
  const routes = planRoutes(spec, {
    subscriptions: config.topics.subscriptions,
    replies: config.topics.destinations.replies,
    events: config.topics.destinations.events,
    doors: config.doors.enabled,
  });
  const topics = topicPlan({
    inputs: routes.inputs.map(({ topic }) => topic),
    outputs: outputTopics(routes),
    internal: internalTopics(config),
    maxRecordBytes: config.engine.maxRecordBytes,
  });
  return { routes, topics };
}
