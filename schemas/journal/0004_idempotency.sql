-- Idempotency keys of commands that took effect, until their window has passed.
create table idempotency_key (
  generation integer not null,
  shard      integer not null,
  -- SHA-256 of the entity and the key that the producer gave.
  key        bytea not null,
  command_id text not null,
  at         timestamptz not null default now(),
  primary key (generation, shard, key)
);
create index idempotency_key_at on idempotency_key (generation, at);
