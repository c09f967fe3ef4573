import type { Registry } from '@bufbuild/protobuf';
import type pg from 'pg';
import { asBuffer } from '../bytes.ts';
import type { ComponentKind, FunctionSpec } from '../model/component.ts';
import { messageTypeRows } from './message-types.ts';

/** A version of the function that has run, as the journal remembers it. */
export interface FunctionVersion {
  /** FunctionSpec.digest */
  readonly digest: string;
  readonly serviceName: string;
  readonly dialect: string;
  readonly sdk: string;
  /** google.protobuf.FileDescriptorSet */
  readonly descriptors: Buffer;
  readonly components: readonly {
    readonly kind: ComponentKind;
    readonly service: string;
    readonly entityType: string;
  }[];
  readonly discoveredAt: Date;
}

/**
 * Notes a version of the function and its message types, so that what it writes can be read when it has gone: here, and
 * by the journal's views. Once is enough for each; a version that was noted without its types gets them.
 * `descriptors`: a google.protobuf.FileDescriptorSet; `registry`: the types in it.
 */
export async function noteFunctionVersion(
  pool: pg.Pool,
  spec: FunctionSpec,
  descriptors: Uint8Array,
  registry: Registry,
): Promise<void> {
  const components = [...spec.components.values()].map(({ kind, service, entityType }) => ({
    kind,
    service,
    entityType,
  }));
  const types = messageTypeRows(registry);
  await pool.query(
    `with version as (
       insert into function_version (digest, service_name, dialect, sdk, descriptors, components)
       values ($1, $2, $3, $4, $5, $6) on conflict do nothing
     )
     insert into message_type (function, name, fields)
     select $1, t.name, t.fields from unnest($7::text[], $8::jsonb[]) as t(name, fields) on conflict do nothing`,
    [
      spec.digest,
      spec.serviceName,
      spec.dialect,
      spec.supportLibrary,
      asBuffer(descriptors),
      JSON.stringify(components),
      types.map(({ name }) => name),
      types.map(({ fields }) => JSON.stringify(fields)),
    ],
  );
}

/** All versions that have run, the newest discovery first. */
export async function readFunctionVersions(pool: pg.Pool | pg.ClientBase): Promise<FunctionVersion[]> {
  const { rows } = await pool.query<{
    digest: string;
    service_name: string;
    dialect: string;
    sdk: string;
    descriptors: Buffer;
    components: FunctionVersion['components'];
    discovered_at: Date;
  }>(
    `select digest, service_name, dialect, sdk, descriptors, components, discovered_at
     from function_version order by discovered_at desc, digest`,
  );
  return rows.map((row) => ({
    digest: row.digest,
    serviceName: row.service_name,
    dialect: row.dialect,
    sdk: row.sdk,
    descriptors: row.descriptors,
    components: row.components,
    discoveredAt: row.discovered_at,
  }));
}
