-- What a deletion before has made void already, while the one that came after it is not due: history up to there does not come back.
alter table deletion add column void_through bigint not null default 0;

-- History of each entity up to seq counts no more.
create view voided as
select generation, entity_type, entity_id, case when due_at <= now() then seq else void_through end as seq
from deletion;
