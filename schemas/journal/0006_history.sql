-- History: what inspection, replay and reprocessing go by.

-- Versions of the function that have been discovered, by the digest of what they say of themselves.
create table function_version (
  digest        text primary key,
  service_name  text not null,
  dialect       text not null,
  sdk           text not null,
  -- google.protobuf.FileDescriptorSet: what its payloads are decoded by.
  descriptors   bytea not null,
  -- [{"kind": …, "service": …, "entityType": …}]
  components    jsonb not null,
  discovered_at timestamptz not null default now()
);

-- Generations beside the first one; and the first, once another was live.
create table generation (
  generation integer primary key,
  name       text not null unique,
  -- What it was made of: the history of this generation.
  source     integer not null,
  -- isolated: entities get the commands that history gave them; cascade: what derived commands do is made anew.
  mode       text not null check (mode in ('isolated', 'cascade')),
  -- running, paused, complete: it is being made. live, retired: it serves, or did.
  state      text not null check (state in ('running', 'paused', 'complete', 'live', 'retired', 'discarded')),
  -- Where its function is; null: where the configuration says.
  function_url text,
  -- {"from": …, "components": …, "perSecond": …}, as it was asked for.
  options    jsonb not null,
  -- {shard: last chunk of the source that is given}; null: all that comes.
  goal       jsonb,
  created_at timestamptz not null default now(),
  changed_at timestamptz not null default now()
);

-- Until then the live generation takes no input from outside: another one is about to take its place.
alter table deployment add column held_until timestamptz;

-- What each chunk was, for as long as there is history: where input and events stood after it, and in which order its
-- input was applied.
create table chunk (
  generation  integer not null,
  shard       integer not null,
  chunk       bigint not null,
  -- {topic: next offset} after the chunk
  positions   jsonb not null,
  -- shard_seq of the last event of the shard after the chunk.
  shard_seq   bigint not null,
  -- Input records in it.
  records     integer not null,
  -- In which order records of several topics were applied: codec/input-order.ts. Null where they are of one topic.
  input_order bytea,
  -- Numbers, from 0, of the records whose commands were parked and took no effect here. Null: none.
  parked      integer[],
  -- Digest of the function's version; null: it was not known.
  function    text,
  at          timestamptz not null default now(),
  primary key (generation, shard, chunk)
);
create index chunk_at on chunk (generation, at);

-- The input records of chunks, where journal.keepInputs says so. Postgres compresses them, so plain SQL can read them.
create table input (
  generation integer not null,
  shard      integer not null,
  chunk      bigint not null,
  -- stateferry.internal.Inputs, in the order in which they were applied
  records    bytea not null,
  at         timestamptz not null default now(),
  primary key (generation, shard, chunk)
);
