-- Outputs of the past of a generation that serves, on their way to a topic (`promote --emit-differences`).

-- Their publication, from the promotion on until it is done.
create table emission (
  generation integer primary key,
  -- Whose outputs they differ from, and where they are published.
  source     integer not null,
  topic      text not null,
  -- {shard: {"from": {topic: offset}, "to": {topic: offset}}}: the input that both were given.
  ranges     jsonb not null,
  -- Which of them differ is known: no others are held.
  selected   boolean not null default false,
  at         timestamptz not null default now()
);

-- Copies of what the outbox had of them, which lets it go when the generation serves.
create table held_output (
  generation integer not null,
  shard      integer not null,
  chunk      bigint not null,
  -- stateferry.internal.Outbox
  records    bytea not null,
  -- Numbers, from 0, of those that differ; null: that is not known yet.
  differing  integer[],
  primary key (generation, shard, chunk)
);
