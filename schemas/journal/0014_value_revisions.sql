-- What values have been, where journal.keepValues is on: a row for each change, the last one too.
create table value_revision (
  generation  integer not null,
  entity_type text not null,
  entity_id   text not null,
  revision    bigint not null,
  shard       integer not null,
  chunk       bigint not null,
  -- Null: deleted.
  type_url    text,
  payload     bytea,
  command_id  text not null,
  at          timestamptz not null default now(),
  primary key (generation, entity_type, entity_id, revision)
);
-- Retention removes them by chunk.
create index value_revision_chunk on value_revision (generation, shard, chunk);
-- The story of a command tells what it changed.
create index value_revision_root on value_revision (generation, split_part(command_id, '#', 1));

alter table removed drop constraint removed_kind_check;
alter table removed add constraint removed_kind_check check (kind in ('events', 'inputs', 'outputs', 'values'));
