-- The journal: the truth about every entity, every shard and every output that Kafka does not have yet.
-- All tables live in the schema that the configuration names; one deployment per schema.

-- The one deployment that owns this schema.
create table deployment (
  singleton       boolean primary key default true check (singleton),
  name            text not null,
  shards          integer not null check (shards > 0),
  live_generation integer not null default 1,
  created_at      timestamptz not null default now()
);

-- One row per shard: who may write, and how far the input has been applied.
create table shard (
  generation integer not null,
  shard      integer not null,
  -- Grows by one with each opening; an older epoch can no longer write.
  epoch      bigint not null default 0,
  -- Transactional ids of every process that opened the shard and is not known to be fenced.
  owners     text[] not null default '{}',
  -- {topic: next input offset that is not in the journal yet}
  applied    jsonb not null default '{}',
  -- At a clean release: {topic: offset that the owner's transactions had committed}, and the owner's epoch. They count
  -- only for the opening that follows it directly.
  released       jsonb,
  released_epoch bigint,
  -- Number of the last journaled chunk, and of the last chunk known to be in Kafka.
  chunk      bigint not null default 0,
  emitted    bigint not null default 0,
  -- shard_seq of the last event of the shard.
  shard_seq  bigint not null default 0,
  primary key (generation, shard)
);

create table event (
  generation  integer not null,
  entity_type text not null,
  entity_id   text not null,
  -- From 1, without a gap, per entity.
  seq         bigint not null,
  shard       integer not null,
  -- From 1, without a gap, per shard: what replay, tailing and verification walk.
  shard_seq   bigint not null,
  -- Epoch of the shard when it was written.
  epoch       bigint not null,
  type_url    text not null,
  payload     bytea not null,
  -- The command that caused it: topic/partition/offset of the external record, then #n per derivation.
  command_id  text not null,
  at          timestamptz not null default now(),
  primary key (generation, entity_type, entity_id, seq)
);
create unique index event_shard_seq on event (generation, shard, shard_seq);

-- The newest snapshot of each event sourced entity; seq is the last event in it.
create table snapshot (
  generation  integer not null,
  entity_type text not null,
  entity_id   text not null,
  seq         bigint not null,
  type_url    text not null,
  payload     bytea not null,
  at          timestamptz not null default now(),
  primary key (generation, entity_type, entity_id)
);

-- The state of each value entity; type_url null: deleted.
create table value (
  generation  integer not null,
  entity_type text not null,
  entity_id   text not null,
  -- Counts its changes, from 1.
  revision    bigint not null,
  shard       integer not null,
  epoch       bigint not null,
  type_url    text,
  payload     bytea,
  command_id  text not null,
  at          timestamptz not null default now(),
  primary key (generation, entity_type, entity_id)
);

-- Event sourced entities that asked for their deletion: history up to seq is void from due_at on.
create table deletion (
  generation  integer not null,
  entity_type text not null,
  entity_id   text not null,
  seq         bigint not null,
  due_at      timestamptz not null,
  primary key (generation, entity_type, entity_id)
);

-- Output records of journaled chunks, until Kafka is known to have them.
create table outbox (
  generation integer not null,
  shard      integer not null,
  chunk      bigint not null,
  -- {topic: next offset} after the chunk
  positions  jsonb not null,
  -- stateferry.internal.Outbox
  records    bytea not null,
  at         timestamptz not null default now(),
  primary key (generation, shard, chunk)
);
