-- Primitives of the SDKs that came after Kalix's are read, too. As it was before otherwise (0007_views.sql).
create or replace function decode_payload(type_url text, payload bytea, function text default null, depth integer default 0) returns jsonb
language plpgsql stable set search_path from current as $$
declare
  -- Out of TOAST once, not with every byte that is read.
  bytes constant bytea := payload || '';
  type_name constant text := substring(type_url from '[^/]*$');
  owner text;
begin
  if bytes is null or type_url is null then
    return null;
  end if;
  if type_url ~ '^json\.[^/]+/' then
    return (decode_message('', 'google.protobuf.StringValue', bytes, depth) #>> '{}')::jsonb;
  elsif type_url ~ '^(p\.[^/]+|type\.kalix\.io|type\.akka\.io)/' then
    case type_name
      when 'string', 'bytes', 'bool', 'int32', 'float', 'double' then
        return decode_message('', 'google.protobuf.' || initcap(type_name) || 'Value', bytes, depth);
      when 'int64' then
        return to_jsonb((decode_message('', 'google.protobuf.Int64Value', bytes, depth) #>> '{}')::bigint);
    end case;
  end if;
  select t.function into owner
  from message_type t left join function_version v on v.digest = t.function
  where t.name = type_name
  order by t.function = decode_payload.function desc nulls last, v.discovered_at desc nulls last, t.function
  limit 1;
  if owner is null then
    return null;
  end if;
  return decode_message(owner, type_name, bytes, depth);
exception when others then
  return null;
end $$;
