-- What retention has removed, so that it is told from what is lost; and events by the record that they come of.

-- Events of the entity up to this one were removed. The snapshot is of a later one, which is still there.
alter table snapshot add column removed_through bigint not null default 0;

create table removed (
  generation  integer not null,
  shard       integer not null,
  kind        text not null check (kind in ('events', 'inputs', 'outputs')),
  -- Of events; else empty.
  entity_type text not null,
  -- The last one: shard_seq of an event; the chunk of inputs and outputs.
  through     bigint not null,
  -- In all: events, or chunks whose inputs or outputs they were; and bytes of payloads and records.
  rows        bigint not null,
  bytes       bigint not null,
  at          timestamptz not null default now(),
  primary key (generation, shard, kind, entity_type)
);

-- Events of an external record, with those of all that derives from it.
create index event_root on event (generation, split_part(command_id, '#', 1));
