-- Generations that begin in the middle of history, with the state of then.

-- copying: it is given the events of before, and nothing works on it yet. Its shards have a chunk 0, which says where it begins.
alter table generation drop constraint generation_state_check;
alter table generation add constraint generation_state_check
  check (state in ('copying', 'running', 'paused', 'complete', 'live', 'retired', 'discarded'));

-- The chunks of its shard that wrote the deletion, and the one that made history void up to void_through; 0: they were written
-- before this was noted.
alter table deletion add column chunk bigint not null default 0;
alter table deletion add column void_chunk bigint not null default 0;
