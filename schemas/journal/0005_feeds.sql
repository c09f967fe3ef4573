-- Actions and entities that are subscribed to the events and values of the function's own entities.

-- Where each of them stands, in each shard. Only the owner of the shard writes here, in the transactions of its chunks and
-- when it opens the shard.
create table feed (
  generation  integer not null,
  -- The consumer group, or the subscriber's service.
  name        text not null,
  source      text not null check (source in ('event-sourced', 'value')),
  entity_type text not null,
  shard       integer not null,
  -- live: all that the shard has journaled is handed on. away: the owner's function has no such subscription.
  state       text not null check (state in ('live', 'catching-up', 'away')),
  -- Unless it is live, what is handed on: events up to this shard_seq; values that no later chunk than this one has written.
  position    bigint not null,
  -- Of values while it catches up: what later chunks write is handed on at once, and of the rest, entities up to the cursor.
  through     bigint not null,
  cursor      text not null,
  primary key (generation, name, source, entity_type, shard)
);
create index feed_shard on feed (generation, shard);

-- The chunk of its shard that wrote the value; 0: it was written before this was noted.
alter table value add column chunk bigint not null default 0;
