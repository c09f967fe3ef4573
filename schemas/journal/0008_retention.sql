-- What retention has removed, so that it is told from what is lost; and what derives from a record, by the record.

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

-- Events that an external record led to elsewhere than in its own shard, or by way of another command. Those that it caused itself are
-- found by the chunk that applied it: they are most of all, and do not pay for an index.
create index event_derived on event (generation, split_part(command_id, '#', 1))
  where strpos(command_id, '#') > 0 or strpos(command_id, '/' || shard::text || '/') = 0;
