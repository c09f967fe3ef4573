-- From where on a shard of a generation has served: what was journaled under this epoch and below, and in this chunk and before,
-- was made while another generation served, and its outputs were held back.
alter table shard add column held_epoch integer not null default 0;
alter table shard add column held_chunk bigint not null default 0;
