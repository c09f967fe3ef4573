-- What `stateferry verify` counts by.

-- Input records that the shard has applied in all, from these positions on ({topic: offset}).
alter table shard add column records bigint not null default 0;
alter table shard add column counted_from jsonb not null default '{}';
update shard set counted_from = applied;

-- Input records of the chunk; null in rows of before. From now on each chunk has a row, and it stays for as many chunks
-- as journal.outboxRetentionChunks says.
alter table outbox add column inputs integer;
