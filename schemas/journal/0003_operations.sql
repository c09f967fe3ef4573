-- What operators decide while a deployment runs, and the commands that wait for it.

-- Entities whose commands are parked. Only the owner of their shard writes here, in the transactions of its chunks.
create table entity_control (
  generation  integer not null,
  entity_type text not null,
  entity_id   text not null,
  shard       integer not null,
  -- resuming: parked commands are put back, and new ones wait behind them.
  state       text not null check (state in ('paused', 'resuming')),
  -- Why, in an operator's words or by the failure of a command; and who asked, empty where it was a failure policy.
  reason      text not null,
  asked_by    text not null,
  since       timestamptz not null,
  -- Place of the last command that was put back and has not come back from the command topic yet.
  released_chunk   bigint,
  released_ordinal integer,
  primary key (generation, entity_type, entity_id)
);
create index entity_control_shard on entity_control (generation, shard);

-- Commands of those entities, as the records that they came as. Their order is that of their places.
create table parked (
  generation  integer not null,
  shard       integer not null,
  -- The place: the chunk that parked it first, and its number in it.
  chunk       bigint not null,
  ordinal     integer not null,
  entity_type text not null,
  entity_id   text not null,
  command_id  text not null,
  -- stateferry.internal.Outbox with one record, for the command topic
  record      bytea not null,
  at          timestamptz not null default now(),
  primary key (generation, shard, chunk, ordinal)
);
create index parked_entity on parked (generation, entity_type, entity_id, chunk, ordinal);

-- What operators ask for. The owner of the shard carries it out and notes what came of it, both in one chunk.
create table operation (
  id          bigint generated always as identity primary key,
  generation  integer not null,
  shard       integer not null,
  kind        text not null check (kind in ('pause', 'resume', 'skip', 'shard-resume', 'shard-skip', 'retry')),
  -- Of pause, resume and skip.
  entity_type text,
  entity_id   text,
  -- Of retry, until it is done: stateferry.internal.Outbox with one record, for the command topic.
  record      bytea,
  reason      text not null,
  asked_by    text not null,
  asked_at    timestamptz not null default now(),
  done_at     timestamptz,
  outcome     text
);
create index operation_open on operation (generation, shard, id) where done_at is null;

-- Dead letters that somebody has dealt with, by where they stand in the dead-letter topic.
create table dead_letter (
  topic     text not null,
  partition integer not null,
  "offset"  bigint not null,
  -- Milliseconds since the epoch, of the letter: a topic that was made again has other letters at its offsets.
  written   bigint not null,
  -- retrying: the operation is not done yet.
  state     text not null check (state in ('retrying', 'retried', 'dropped')),
  operation bigint references operation (id),
  marked_by text not null,
  marked_at timestamptz not null default now(),
  primary key (topic, partition, "offset", written)
);
create index dead_letter_operation on dead_letter (operation);
