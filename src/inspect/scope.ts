import type pg from 'pg';
import { StateferryError } from '../errors.ts';
import { type FunctionVersion, readFunctionVersions } from '../journal/function-versions.ts';
import type { ComponentKind } from '../model/component.ts';
import { createPayloadReader, type PayloadReader } from './payloads.ts';

/** What queries are sent to: a pool or one connection. */
export type Queryable = Pick<pg.ClientBase, 'query'>;

/** A namespace of entities, as the journal knows it. */
export interface KnownComponent {
  readonly entityType: string;
  /** As the newest version of the function that has it says; else by what there is of it. */
  readonly kind: Exclude<ComponentKind, 'action'>;
  /** Full name of its gRPC service; undefined: no version of the function that the journal remembers has it. */
  readonly service: string | undefined;
}

/** One generation of a journal, and what its payloads are read by. */
export interface History {
  readonly db: Queryable;
  readonly deployment: string;
  readonly generation: number;
  readonly shards: number;
  /** The deployment's own topics. */
  readonly topics: { readonly commands: string; readonly answers: string };
  /** The newest discovery first. */
  readonly versions: readonly FunctionVersion[];
  readonly payloads: PayloadReader;
  /** By entity type, sorted. */
  readonly components: readonly KnownComponent[];
}

/** Entity types, one index probe each: a journal has few of them and many rows. */
const ENTITY_TYPES = (table: 'event' | 'value') => `
with recursive types as (
  (select entity_type from ${table} where generation = $1 order by entity_type limit 1)
  union all
  select (select t.entity_type from ${table} t where t.generation = $1 and t.entity_type > types.entity_type
          order by t.entity_type limit 1)
  from types where types.entity_type is not null
)
select entity_type from types where entity_type is not null`;

/**
 * Looks at what a generation of the journal is of.
 * @throws StateferryError OPERATION_REFUSED for a generation that there is not.
 */
export async function openHistory(
  db: Queryable,
  given: Pick<History, 'deployment' | 'shards' | 'topics'> & {
    readonly liveGeneration: number;
    /** Absent: the live one. */
    readonly generation: number | undefined;
  },
): Promise<History> {
  const { deployment, shards, topics, liveGeneration, generation = liveGeneration } = given;
  if (generation !== liveGeneration) await refuseUnknown(db, generation, liveGeneration);
  const versions = await readFunctionVersions(db as pg.ClientBase);
  const found = new Map<string, KnownComponent>();
  for (const [table, kind] of [
    ['value', 'value'],
    ['event', 'event-sourced'],
  ] as const) {
    const { rows } = await db.query<{ entity_type: string }>(ENTITY_TYPES(table), [generation]);
    for (const { entity_type: entityType } of rows) found.set(entityType, { entityType, kind, service: undefined });
  }
  // The newest last, so that it has the last word.
  for (const { components } of [...versions].reverse()) {
    for (const { kind, service, entityType } of components) {
      if (kind !== 'action') found.set(entityType, { entityType, kind, service });
    }
  }
  return {
    db,
    deployment,
    generation,
    shards,
    topics,
    versions,
    payloads: createPayloadReader(versions),
    components: [...found.values()].sort((one, other) => (one.entityType < other.entityType ? -1 : 1)),
  };
}

async function refuseUnknown(db: Queryable, generation: number, live: number): Promise<void> {
  const { rows } = await db.query<{ generation: number }>(
    'select generation from generation union select generation from shard union select $1 order by 1',
    [live],
  );
  if (rows.some((row) => row.generation === generation)) return;
  throw new StateferryError(
    'OPERATION_REFUSED',
    `the journal has no generation ${generation}: it has ${rows.map((row) => row.generation).join(', ')}, and ${live} is the live one.`,
  );
}

/**
 * The component that a user means, by its entity type or its service.
 * @throws StateferryError OPERATION_REFUSED for one that the journal does not know.
 */
export function componentNamed({ components }: Pick<History, 'components'>, name: string): KnownComponent {
  const found =
    components.find(({ entityType }) => entityType === name) ?? components.find(({ service }) => service === name);
  if (found !== undefined) return found;
  const known = components.map(({ entityType }) => entityType).join(', ');
  throw new StateferryError(
    'OPERATION_REFUSED',
    `the journal has no component "${name}": ${known === '' ? 'it has none yet' : `it has ${known}`}.`,
  );
}

/** The components that have an entity of this id; `among`: those to look at. */
export async function componentsOf(
  { db, generation }: Pick<History, 'db' | 'generation'>,
  entityId: string,
  among: readonly KnownComponent[],
): Promise<KnownComponent[]> {
  const { rows } = await db.query<{ entity_type: string }>(
    `select k.entity_type from unnest($2::text[]) as k(entity_type)
     where exists (select 1 from event e where e.generation = $1 and e.entity_type = k.entity_type and e.entity_id = $3)
        or exists (select 1 from value v where v.generation = $1 and v.entity_type = k.entity_type and v.entity_id = $3)`,
    [generation, among.map(({ entityType }) => entityType), entityId],
  );
  const has = new Set(rows.map((row) => row.entity_type));
  return among.filter(({ entityType }) => has.has(entityType));
}

/**
 * The one component whose entity a user means; `component` is its name, where the user gave one.
 * @throws StateferryError OPERATION_REFUSED where there is no such entity, CONFIG_INVALID where there are several.
 */
export async function entityNamed(
  history: History,
  entityId: string,
  component: string | undefined,
): Promise<KnownComponent> {
  const among = component === undefined ? history.components : [componentNamed(history, component)];
  const found = await componentsOf(history, entityId, among);
  const [only, other] = found;
  if (only !== undefined && other === undefined) return only;
  if (only === undefined) {
    const where = component === undefined ? 'the journal' : `"${component}"`;
    throw new StateferryError(
      'OPERATION_REFUSED',
      `${where} has no entity "${entityId}". \`stateferry journal entities\` lists those that there are.`,
    );
  }
  throw new StateferryError(
    'CONFIG_INVALID',
    `several components have an entity "${entityId}": say which with --component: ${found.map(({ entityType }) => entityType).join(', ')}.`,
  );
}
