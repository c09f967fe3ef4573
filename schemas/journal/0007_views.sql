-- Plain SQL on the journal: the views events, outputs and commands, with payloads as JSON, and what decodes them.

-- The message types of the function's versions: what payloads are decoded by.
create table message_type (
  -- function_version.digest; empty: it is Stateferry's or protobuf's own.
  function text not null,
  -- Full name.
  name     text not null,
  -- {field number: {"json": its name in JSON, "type": …, "wire": …, …}}, as journal/message-types.ts writes them
  fields   jsonb not null,
  primary key (function, name)
);
create index message_type_name on message_type (name);

-- Which chunk an event came with.
create index chunk_shard_seq on chunk (generation, shard, shard_seq, chunk);

insert into message_type (function, name, fields) values
  ('', 'stateferry.internal.CommandRecord', '{"1":{"json":"id","type":"string","wire":2,"implicit":true},"2":{"json":"service","type":"string","wire":2,"implicit":true},"3":{"json":"method","type":"string","wire":2,"implicit":true},"4":{"json":"entityId","type":"string","wire":2,"implicit":true},"5":{"json":"typeUrl","type":"string","wire":2,"implicit":true},"6":{"json":"payload","type":"bytes","wire":2,"implicit":true},"7":{"json":"metadata","type":"message","wire":2,"message":"stateferry.internal.MetadataEntry","list":true},"8":{"json":"replyTopics","type":"string","wire":2,"list":true},"9":{"json":"caller","type":"message","wire":2,"message":"stateferry.internal.Caller"},"10":{"json":"stream","type":"enum","wire":0,"names":{"0":"STREAM_CONTROL_NONE","1":"STREAM_CONTROL_RENEW","2":"STREAM_CONTROL_CANCEL"},"implicit":true},"11":{"json":"fault","type":"string","wire":2,"implicit":true}}'),
  ('', 'stateferry.internal.Caller', '{"1":{"json":"partition","type":"uint32","wire":0,"implicit":true},"2":{"json":"correlation","type":"bytes","wire":2,"implicit":true},"3":{"json":"doneOnly","type":"bool","wire":0,"implicit":true},"4":{"json":"awaits","type":"uint32","wire":0,"implicit":true},"5":{"json":"streamed","type":"bool","wire":0,"implicit":true}}'),
  ('', 'stateferry.internal.AnswerRecord', '{"1":{"json":"awaits","type":"uint32","wire":0,"implicit":true},"2":{"json":"reply","type":"message","wire":2,"message":"stateferry.internal.Reply","without":["failure","done"]},"3":{"json":"failure","type":"message","wire":2,"message":"stateferry.internal.Failure","without":["reply","done"]},"4":{"json":"done","type":"bool","wire":0,"without":["reply","failure"]},"5":{"json":"item","type":"uint32","wire":0,"implicit":true},"6":{"json":"more","type":"bool","wire":0,"implicit":true}}'),
  ('', 'stateferry.internal.Reply', '{"1":{"json":"typeUrl","type":"string","wire":2,"implicit":true},"2":{"json":"payload","type":"bytes","wire":2,"implicit":true},"3":{"json":"metadata","type":"message","wire":2,"message":"stateferry.internal.MetadataEntry","list":true}}'),
  ('', 'stateferry.internal.Failure', '{"1":{"json":"code","type":"uint32","wire":0,"implicit":true},"2":{"json":"message","type":"string","wire":2,"implicit":true}}'),
  ('', 'stateferry.internal.MetadataEntry', '{"1":{"json":"key","type":"string","wire":2,"implicit":true},"2":{"json":"text","type":"string","wire":2,"without":["data"]},"3":{"json":"data","type":"bytes","wire":2,"without":["text"]}}'),
  ('', 'stateferry.internal.ReplicatedDelta', '{"1":{"json":"gcounter","type":"message","wire":2,"message":"stateferry.internal.CounterDelta","without":["counter","gset","set","register","flag","map","counterMap","registerMap","multiMap","vote"]},"2":{"json":"counter","type":"message","wire":2,"message":"stateferry.internal.CounterDelta","without":["gcounter","gset","set","register","flag","map","counterMap","registerMap","multiMap","vote"]},"3":{"json":"gset","type":"message","wire":2,"message":"stateferry.internal.SetDelta","without":["gcounter","counter","set","register","flag","map","counterMap","registerMap","multiMap","vote"]},"4":{"json":"set","type":"message","wire":2,"message":"stateferry.internal.SetDelta","without":["gcounter","counter","gset","register","flag","map","counterMap","registerMap","multiMap","vote"]},"5":{"json":"register","type":"message","wire":2,"message":"stateferry.internal.RegisterDelta","without":["gcounter","counter","gset","set","flag","map","counterMap","registerMap","multiMap","vote"]},"6":{"json":"flag","type":"bool","wire":0,"without":["gcounter","counter","gset","set","register","map","counterMap","registerMap","multiMap","vote"]},"7":{"json":"map","type":"message","wire":2,"message":"stateferry.internal.MapDelta","without":["gcounter","counter","gset","set","register","flag","counterMap","registerMap","multiMap","vote"]},"8":{"json":"counterMap","type":"message","wire":2,"message":"stateferry.internal.MapDelta","without":["gcounter","counter","gset","set","register","flag","map","registerMap","multiMap","vote"]},"9":{"json":"registerMap","type":"message","wire":2,"message":"stateferry.internal.MapDelta","without":["gcounter","counter","gset","set","register","flag","map","counterMap","multiMap","vote"]},"10":{"json":"multiMap","type":"message","wire":2,"message":"stateferry.internal.MapDelta","without":["gcounter","counter","gset","set","register","flag","map","counterMap","registerMap","vote"]},"11":{"json":"vote","type":"bool","wire":0,"without":["gcounter","counter","gset","set","register","flag","map","counterMap","registerMap","multiMap"]}}'),
  ('', 'stateferry.internal.Value', '{"1":{"json":"typeUrl","type":"string","wire":2,"implicit":true},"2":{"json":"value","type":"bytes","wire":2,"implicit":true}}'),
  ('', 'stateferry.internal.CounterDelta', '{"1":{"json":"change","type":"sint64","wire":0,"implicit":true}}'),
  ('', 'stateferry.internal.SetDelta', '{"1":{"json":"cleared","type":"bool","wire":0,"implicit":true},"2":{"json":"removed","type":"message","wire":2,"message":"stateferry.internal.Value","list":true},"3":{"json":"added","type":"message","wire":2,"message":"stateferry.internal.Value","list":true}}'),
  ('', 'stateferry.internal.RegisterDelta', '{"1":{"json":"value","type":"message","wire":2,"message":"stateferry.internal.Value"},"2":{"json":"clock","type":"enum","wire":0,"names":{"0":"REGISTER_CLOCK_DEFAULT","1":"REGISTER_CLOCK_REVERSE","2":"REGISTER_CLOCK_CUSTOM","3":"REGISTER_CLOCK_CUSTOM_AUTO_INCREMENT"},"implicit":true},"3":{"json":"clockValue","type":"sint64","wire":0,"implicit":true}}'),
  ('', 'stateferry.internal.MapDelta', '{"1":{"json":"cleared","type":"bool","wire":0,"implicit":true},"2":{"json":"removed","type":"message","wire":2,"message":"stateferry.internal.Value","list":true},"3":{"json":"updated","type":"message","wire":2,"message":"stateferry.internal.MapEntryDelta","list":true},"4":{"json":"added","type":"message","wire":2,"message":"stateferry.internal.MapEntryDelta","list":true}}'),
  ('', 'stateferry.internal.MapEntryDelta', '{"1":{"json":"key","type":"message","wire":2,"message":"stateferry.internal.Value"},"2":{"json":"delta","type":"message","wire":2,"message":"stateferry.internal.ReplicatedDelta"}}'),
  ('', 'google.protobuf.Any', '{"1":{"json":"typeUrl","type":"string","wire":2,"implicit":true},"2":{"json":"value","type":"bytes","wire":2,"implicit":true}}'),
  ('', 'google.protobuf.Duration', '{"1":{"json":"seconds","type":"int64","wire":0,"implicit":true},"2":{"json":"nanos","type":"int32","wire":0,"implicit":true}}'),
  ('', 'google.protobuf.Empty', '{}'),
  ('', 'google.protobuf.FieldMask', '{"1":{"json":"paths","type":"string","wire":2,"list":true}}'),
  ('', 'google.protobuf.Struct', '{"1":{"json":"fields","type":"message","wire":2,"message":"google.protobuf.Value","map":"string"}}'),
  ('', 'google.protobuf.Value', '{"1":{"json":"nullValue","type":"enum","wire":0,"names":{"0":null},"without":["numberValue","stringValue","boolValue","structValue","listValue"]},"2":{"json":"numberValue","type":"double","wire":1,"without":["nullValue","stringValue","boolValue","structValue","listValue"]},"3":{"json":"stringValue","type":"string","wire":2,"without":["nullValue","numberValue","boolValue","structValue","listValue"]},"4":{"json":"boolValue","type":"bool","wire":0,"without":["nullValue","numberValue","stringValue","structValue","listValue"]},"5":{"json":"structValue","type":"message","wire":2,"message":"google.protobuf.Struct","without":["nullValue","numberValue","stringValue","boolValue","listValue"]},"6":{"json":"listValue","type":"message","wire":2,"message":"google.protobuf.ListValue","without":["nullValue","numberValue","stringValue","boolValue","structValue"]}}'),
  ('', 'google.protobuf.ListValue', '{"1":{"json":"values","type":"message","wire":2,"message":"google.protobuf.Value","list":true}}'),
  ('', 'google.protobuf.Timestamp', '{"1":{"json":"seconds","type":"int64","wire":0,"implicit":true},"2":{"json":"nanos","type":"int32","wire":0,"implicit":true}}'),
  ('', 'google.protobuf.DoubleValue', '{"1":{"json":"value","type":"double","wire":1,"implicit":true}}'),
  ('', 'google.protobuf.FloatValue', '{"1":{"json":"value","type":"float","wire":5,"implicit":true}}'),
  ('', 'google.protobuf.Int64Value', '{"1":{"json":"value","type":"int64","wire":0,"implicit":true}}'),
  ('', 'google.protobuf.UInt64Value', '{"1":{"json":"value","type":"uint64","wire":0,"implicit":true}}'),
  ('', 'google.protobuf.Int32Value', '{"1":{"json":"value","type":"int32","wire":0,"implicit":true}}'),
  ('', 'google.protobuf.UInt32Value', '{"1":{"json":"value","type":"uint32","wire":0,"implicit":true}}'),
  ('', 'google.protobuf.BoolValue', '{"1":{"json":"value","type":"bool","wire":0,"implicit":true}}'),
  ('', 'google.protobuf.StringValue', '{"1":{"json":"value","type":"string","wire":2,"implicit":true}}'),
  ('', 'google.protobuf.BytesValue', '{"1":{"json":"value","type":"bytes","wire":2,"implicit":true}}');

-- Bytes of protobuf → JSON, by the mapping of proto3. What follows up to decode_payload raises an error for bytes that
-- are not what they should be.

-- An unsigned varint, as the bigint with the same 64 bits.
create function read_varint(bytes bytea, pos integer, out value bigint, out next integer)
language plpgsql immutable strict parallel safe as $$
declare
  byte integer;
begin
  value := 0;
  next := pos;
  for i in 0..9 loop
    byte := get_byte(bytes, next);
    next := next + 1;
    value := value | ((byte & 127)::bigint << (7 * i));
    if byte < 128 then
      return;
    end if;
  end loop;
  raise exception 'the varint at byte % is longer than 10 bytes', pos;
end $$;

create function read_fixed(bytes bytea, pos integer, size integer) returns bigint
language plpgsql immutable strict parallel safe as $$
declare
  value bigint := 0;
begin
  for i in reverse size - 1..0 loop
    value := (value << 8) | get_byte(bytes, pos + i);
  end loop;
  return value;
end $$;

-- Where the group that is open at pos ends: its end tag, and what comes after that.
create function end_of_group(bytes bytea, pos integer, number integer, out stop integer, out next integer)
language plpgsql immutable strict parallel safe as $$
declare
  open bigint[] := array[number];
  value bigint;
begin
  next := pos;
  loop
    stop := next;
    select v.value, v.next into value, next from read_varint(bytes, next) v;
    case value & 7
      when 0 then
        next := (read_varint(bytes, next)).next;
      when 1 then
        next := next + 8;
      when 5 then
        next := next + 4;
      when 2 then
        select v.value + v.next into next from read_varint(bytes, next) v;
      when 3 then
        open := array_append(open, value >> 3);
      when 4 then
        if open[cardinality(open)] <> value >> 3 then
          raise exception 'the end of a group at byte % ends nothing', stop;
        end if;
        open := trim_array(open, 1);
        if cardinality(open) = 0 then
          return;
        end if;
    end case;
  end loop;
end $$;

-- The fields of a message in order: raw is the number of wire types 0, 1 and 5, slice the bytes of 2 and 3.
create function wire_fields(bytes bytea) returns table (number integer, wire integer, raw bigint, slice bytea)
language plpgsql immutable strict parallel safe rows 8 as $$
declare
  size constant integer := length(bytes);
  pos integer := 0;
  tag bigint;
  stop integer;
  next integer;
begin
  while pos < size loop
    tag := get_byte(bytes, pos);
    if tag < 128 then
      pos := pos + 1;
    else
      select v.value, v.next into tag, pos from read_varint(bytes, pos) v;
    end if;
    number := tag >> 3;
    wire := tag & 7;
    if number < 1 then
      raise exception 'the tag before byte % has no field number', pos;
    end if;
    slice := null;
    case wire
      when 1 then
        raw := read_fixed(bytes, pos, 8);
        pos := pos + 8;
      when 5 then
        raw := read_fixed(bytes, pos, 4);
        pos := pos + 4;
      when 0, 2 then
        raw := get_byte(bytes, pos);
        if raw < 128 then
          pos := pos + 1;
        else
          select v.value, v.next into raw, pos from read_varint(bytes, pos) v;
        end if;
        if wire = 2 then
          if raw < 0 or raw > size - pos then
            raise exception 'field % before byte % is longer than what is left', number, pos;
          end if;
          slice := substring(bytes from pos + 1 for raw::integer);
          pos := pos + raw;
          raw := null;
        end if;
      when 3 then
        raw := null;
        select g.stop, g.next into stop, next from end_of_group(bytes, pos, number) g;
        slice := substring(bytes from pos + 1 for stop - pos);
        pos := next;
    end case;
    return next;
  end loop;
end $$;

-- IEEE 754, of so many bits of fraction; the highest exponent is for what is no number.
create function float_json(negative boolean, exponent integer, fraction bigint, bits integer, highest integer) returns jsonb
language plpgsql immutable strict parallel safe as $$
declare
  sign constant integer := case when negative then -1 else 1 end;
  -- From 0 up to 2. No step leaves what a double holds.
  scaled constant float8 := fraction::float8 / (1::bigint << bits) + case when exponent = 0 then 0 else 1 end;
begin
  if exponent = highest then
    return case when fraction <> 0 then '"NaN"' when negative then '"-Infinity"' else '"Infinity"' end::jsonb;
  end if;
  if scaled = 0 then
    return '0';
  end if;
  return to_jsonb(sign * scaled * power(2::float8, greatest(exponent, 1) - highest / 2));
end $$;

-- A number, bool or enum value, given what is on the wire.
create function number_json(type text, raw bigint, names jsonb) returns jsonb
language plpgsql immutable parallel safe as $$
declare
  low constant bigint := raw & 4294967295;
  narrow constant bigint := case when low < 2147483648 then low else low - 4294967296 end;
begin
  case type
    when 'int32', 'sfixed32' then
      return to_jsonb(narrow);
    when 'int64', 'sfixed64' then
      return to_jsonb(raw::text);
    when 'bool' then
      return to_jsonb(raw <> 0);
    when 'enum' then
      -- A null among the names: it is google.protobuf.NullValue.
      return coalesce(names -> narrow::text, case when names -> '0' = 'null' then 'null' else to_jsonb(narrow) end);
    when 'double' then
      return float_json(raw < 0, ((raw >> 52) & 2047)::integer, raw & 4503599627370495, 52, 2047);
    when 'float' then
      return float_json(low >= 2147483648, ((low >> 23) & 255)::integer, low & 8388607, 23, 255);
    when 'uint32', 'fixed32' then
      return to_jsonb(low);
    when 'uint64', 'fixed64' then
      return to_jsonb((case when raw < 0 then raw::numeric + 18446744073709551616 else raw end)::text);
    when 'sint32' then
      return to_jsonb((low >> 1) # -(low & 1));
    when 'sint64' then
      return to_jsonb((((raw >> 1) & 9223372036854775807) # -(raw & 1))::text);
  end case;
end $$;

create function default_json(type text, names jsonb) returns jsonb
language sql immutable parallel safe
return case when type in ('string', 'bytes') then '""'::jsonb else number_json(type, 0, names) end;

create function base64(bytes bytea) returns text
language sql immutable strict parallel safe
return translate(encode(bytes, 'base64'), E'\n', '');

-- One value of a field, which is an element where the field is a list.
create function value_json(owner text, field jsonb, raw bigint, slice bytea, depth integer) returns jsonb
language plpgsql stable parallel safe as $$
begin
  case field ->> 'type'
    when 'string' then
      return to_jsonb(convert_from(slice, 'UTF8'));
    when 'bytes' then
      return to_jsonb(base64(slice));
    when 'message', 'group' then
      return decode_message(owner, field ->> 'message', slice, depth + 1);
    else
      return number_json(field ->> 'type', raw, field -> 'names');
  end case;
end $$;

-- The elements of a packed list of numbers.
create function packed_json(field jsonb, wire integer, bytes bytea) returns jsonb[]
language plpgsql immutable strict parallel safe as $$
declare
  elements jsonb[] := '{}';
  pos integer := 0;
  raw bigint;
begin
  while pos < length(bytes) loop
    case wire
      when 0 then
        select v.value, v.next into raw, pos from read_varint(bytes, pos) v;
      when 1 then
        raw := read_fixed(bytes, pos, 8);
        pos := pos + 8;
      when 5 then
        raw := read_fixed(bytes, pos, 4);
        pos := pos + 4;
    end case;
    elements := array_append(elements, number_json(field ->> 'type', raw, field -> 'names'));
  end loop;
  return elements;
end $$;

-- An entry of a map: its key as text, and its value.
create function entry_json(owner text, field jsonb, bytes bytea, depth integer, out key text, out value jsonb)
language plpgsql stable parallel safe as $$
declare
  f record;
begin
  for f in select * from wire_fields(bytes) loop
    if f.number = 1 then
      key := value_json(owner, jsonb_build_object('type', field -> 'map'), f.raw, f.slice, depth) #>> '{}';
    elsif f.number = 2 then
      value := value_json(owner, field, f.raw, f.slice, depth);
    end if;
  end loop;
  key := coalesce(key, default_json(field ->> 'map', null) #>> '{}');
  if value is null and field ? 'message' then
    value := decode_message(owner, field ->> 'message', '', depth + 1);
  end if;
  value := coalesce(value, default_json(field ->> 'type', field -> 'names'));
end $$;

-- A message of a type that a version of the function has.
create function decode_message(owner text, type_name text, bytes bytea, depth integer) returns jsonb
language plpgsql stable parallel safe as $$
declare
  fields jsonb;
  field jsonb;
  f record;
  json text;
  entry record;
  result jsonb := '{}';
  -- Of lists and maps: which one, and the element; of a map, its key too.
  names text[] := '{}';
  keys text[] := '{}';
  elements jsonb[] := '{}';
begin
  if depth > 100 then
    raise exception 'messages nest deeper than 100';
  end if;
  select t.fields into fields from message_type t
  where t.name = type_name and t.function in (owner, '') order by t.function desc limit 1;
  if fields is null then
    raise exception 'the type % is not known', type_name;
  end if;
  for f in select * from wire_fields(bytes) loop
    field := fields -> f.number::text;
    if field is null then
      continue;
    end if;
    json := field ->> 'json';
    if field ? 'list' and f.wire = 2 and (field ->> 'wire')::integer <> 2 then
      elements := elements || packed_json(field, (field ->> 'wire')::integer, f.slice);
      names := names || array_fill(json, array[cardinality(elements) - cardinality(names)]);
      keys := keys || array_fill(null::text, array[cardinality(elements) - cardinality(keys)]);
      continue;
    end if;
    if f.wire <> (field ->> 'wire')::integer then
      raise exception 'field % of % comes with wire type %', f.number, type_name, f.wire;
    end if;
    if field ? 'map' then
      select e.key, e.value into entry from entry_json(owner, field, f.slice, depth) e;
      names := array_append(names, json);
      keys := array_append(keys, entry.key);
      elements := array_append(elements, entry.value);
    elsif field ? 'list' then
      names := array_append(names, json);
      keys := array_append(keys, null);
      elements := array_append(elements, value_json(owner, field, f.raw, f.slice, depth));
    else
      if field ? 'message' and result ? json then
        -- A message that comes in parts is all of them together.
        select string_agg(part.slice, '') into f.slice from wire_fields(bytes) part where part.number = f.number;
      end if;
      if field ? 'without' then
        result := result - array(select jsonb_array_elements_text(field -> 'without'));
      end if;
      if field ? 'implicit' and coalesce(f.raw, 0) = 0 and coalesce(length(f.slice), 0) = 0 then
        result := result - json;
      else
        result := result || jsonb_build_object(json, value_json(owner, field, f.raw, f.slice, depth));
      end if;
    end if;
  end loop;
  if cardinality(names) > 0 then
    select result || jsonb_object_agg(g.name, g.whole) into result from (
      select u.name, case when bool_or(u.key is not null) then jsonb_object_agg(coalesce(u.key, ''), u.element order by u.n)
                          else jsonb_agg(u.element order by u.n) end as whole
      from unnest(names, keys, elements) with ordinality as u(name, key, element, n) group by u.name
    ) g;
  end if;
  if type_name ~ '^(google\.protobuf|stateferry\.internal)\.' then
    return special_json(type_name, result, owner, depth);
  end if;
  return result;
end $$;

-- Digits after the point, none or in groups of three.
create function nanos_text(nanos integer) returns text
language sql immutable strict parallel safe
return case
  when nanos = 0 then ''
  when nanos % 1000000 = 0 then '.' || lpad((nanos / 1000000)::text, 3, '0')
  when nanos % 1000 = 0 then '.' || lpad((nanos / 1000)::text, 6, '0')
  else '.' || lpad(nanos::text, 9, '0')
end;

-- What a message of protobuf's or Stateferry's own is in JSON, given its fields.
create function special_json(type_name text, plain jsonb, owner text, depth integer) returns jsonb
language plpgsql stable parallel safe as $$
declare
  seconds constant bigint := plain ->> 'seconds';
  nanos constant integer := coalesce((plain -> 'nanos')::integer, 0);
  inner_json jsonb;
begin
  case type_name
    when 'google.protobuf.Timestamp' then
      if coalesce(seconds, 0) not between -62135596800 and 253402300799 or nanos not between 0 and 999999999 then
        raise exception 'it is no time';
      end if;
      return to_jsonb(
        to_char(to_timestamp(coalesce(seconds, 0)) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS') || nanos_text(nanos) || 'Z'
      );
    when 'google.protobuf.Duration' then
      if abs(coalesce(seconds, 0)) > 315576000000 or abs(nanos) > 999999999 or sign(seconds) * sign(nanos) < 0 then
        raise exception 'it is no duration';
      end if;
      return to_jsonb(
        case when nanos < 0 and coalesce(seconds, 0) = 0 then '-' else '' end
        || coalesce(seconds, 0) || nanos_text(abs(nanos)) || 's'
      );
    when 'google.protobuf.Struct' then
      return coalesce(plain -> 'fields', '{}');
    when 'google.protobuf.ListValue' then
      return coalesce(plain -> 'values', '[]');
    when 'google.protobuf.Value' then
      if plain = '{}' or jsonb_typeof(plain -> 'numberValue') = 'string' then
        raise exception 'it is no value';
      end if;
      return (select kind.value from jsonb_each(plain) kind);
    when 'google.protobuf.FieldMask' then
      return (
        select to_jsonb(coalesce(string_agg(camel.path, ',' order by camel.n), ''))
        from (
          select p.n, string_agg(case when w.n = 1 then w.word else upper(left(w.word, 1)) || substr(w.word, 2) end, '' order by w.n)
          from jsonb_array_elements_text(plain -> 'paths') with ordinality as p(path, n),
               string_to_table(p.path, '_') with ordinality as w(word, n)
          group by p.n
        ) camel(n, path)
      );
    when 'google.protobuf.Any' then
      if not plain ? 'typeUrl' then
        return '{}';
      end if;
      inner_json := decode_payload(plain ->> 'typeUrl', decode(coalesce(plain ->> 'value', ''), 'base64'), owner, depth + 1);
      if inner_json is null then
        return jsonb_build_object('@type', plain -> 'typeUrl', 'value', coalesce(plain -> 'value', '""'));
      elsif jsonb_typeof(inner_json) = 'object' and plain ->> 'typeUrl' !~ '^json\.|/google\.protobuf\.(Struct|Value|Any)$' then
        return inner_json || jsonb_build_object('@type', plain -> 'typeUrl');
      end if;
      return jsonb_build_object('@type', plain -> 'typeUrl', 'value', inner_json);
    when 'google.protobuf.DoubleValue', 'google.protobuf.FloatValue', 'google.protobuf.Int32Value', 'google.protobuf.UInt32Value' then
      return coalesce(plain -> 'value', '0');
    when 'google.protobuf.Int64Value', 'google.protobuf.UInt64Value' then
      return coalesce(plain -> 'value', '"0"');
    when 'google.protobuf.BoolValue' then
      return coalesce(plain -> 'value', 'false');
    when 'google.protobuf.StringValue', 'google.protobuf.BytesValue' then
      return coalesce(plain -> 'value', '""');
    when 'stateferry.internal.Value' then
      return coalesce(
        decode_payload(plain ->> 'typeUrl', decode(coalesce(plain ->> 'value', ''), 'base64'), owner, depth + 1), plain
      );
    when 'stateferry.internal.CommandRecord', 'stateferry.internal.Reply' then
      return plain || jsonb_build_object(
        'payload', decode_payload(plain ->> 'typeUrl', decode(coalesce(plain ->> 'payload', ''), 'base64'), owner, depth + 1)
      );
    else
      return plain;
  end case;
end $$;

-- From here on, nothing raises an error for what bytes hold: what cannot be read is null.

-- A payload as JSON. Its type is taken from that version of the function or, where it is null or does not have the type,
-- from the newest that does. Null: the type is not known, or the bytes are not of it. depth: how deep it lies in another.
create function decode_payload(type_url text, payload bytea, function text default null, depth integer default 0) returns jsonb
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
  elsif type_url ~ '^(p\.[^/]+|type\.kalix\.io)/' then
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

create function utf8_text(bytes bytea) returns text
language plpgsql immutable strict as $$
begin
  return convert_from(bytes, 'UTF8');
exception when others then
  return null;
end $$;

-- The records of stateferry.internal.Outbox. Where the bytes cannot be read, the last row has nothing but its ordinal.
create function outbox_records(records bytea)
returns table (ordinal integer, topic text, partition integer, key bytea, value bytea, header_names text[], headers bytea[])
language plpgsql immutable strict rows 20 set search_path from current as $$
declare
  bytes constant bytea := records || '';
  topics text[] := '{}';
  f record;
  r record;
  seen integer := 0;
begin
  header_names := '{}';
  for f in select * from wire_fields(bytes) w where w.number in (1, 2) loop
    if f.number = 1 then
      topics := array_append(topics, convert_from(f.slice, 'UTF8'));
    else
      header_names := array_append(header_names, convert_from(f.slice, 'UTF8'));
    end if;
  end loop;
  for f in select * from wire_fields(bytes) w where w.number = 3 loop
    topic := topics[1];
    partition := 0;
    key := null;
    value := null;
    headers := '{}';
    for r in select * from wire_fields(f.slice) loop
      case r.number
        when 1 then topic := topics[r.raw + 1];
        when 2 then partition := r.raw;
        when 3 then key := r.slice;
        when 4 then value := r.slice;
        when 5 then headers := array_append(headers, r.slice);
        else null;
      end case;
    end loop;
    ordinal := seen;
    return next;
    seen := seen + 1;
  end loop;
exception when others then
  ordinal := seen;
  topic := null;
  partition := null;
  key := null;
  value := null;
  header_names := null;
  headers := null;
  return next;
end $$;

-- The records of stateferry.internal.Inputs, as those of an outbox.
create function input_records(records bytea)
returns table (
  ordinal integer, topic text, partition integer, "offset" bigint, "timestamp" timestamptz, key bytea, value bytea,
  header_names text[], headers bytea[]
)
language plpgsql immutable strict rows 20 set search_path from current as $$
declare
  bytes constant bytea := records || '';
  outbox bytea := '';
  offsets jsonb[] := '{}';
  times jsonb[] := '{}';
  f record;
begin
  for f in select * from wire_fields(bytes) loop
    case f.number
      when 1 then outbox := f.slice;
      when 2 then offsets := offsets || packed_json('{"type": "uint64"}', 0, f.slice);
      when 3 then times := times || packed_json('{"type": "sint64"}', 0, f.slice);
      else null;
    end case;
  end loop;
  return query
    select r.ordinal, r.topic, r.partition, (offsets[r.ordinal + 1] #>> '{}')::bigint,
           to_timestamp((times[r.ordinal + 1] #>> '{}')::bigint / 1000.0), r.key, r.value, r.header_names, r.headers
    from outbox_records(outbox) r;
exception when others then
  ordinal := 0;
  return next;
end $$;

-- {name: text}; a header that repeats has a list, and one that is no text is {"base64": …}.
create function record_headers(header_names text[], headers bytea[]) returns jsonb
language plpgsql immutable strict set search_path from current as $$
declare
  header bytea;
  f record;
  name text;
  one jsonb;
  result jsonb := '{}';
begin
  foreach header in array headers loop
    name := header_names[1];
    one := '""';
    for f in select * from wire_fields(header) loop
      if f.number = 1 then
        name := header_names[f.raw + 1];
      elsif f.number = 2 then
        one := coalesce(to_jsonb(utf8_text(f.slice)), jsonb_build_object('base64', base64(f.slice)));
      end if;
    end loop;
    result := result || jsonb_build_object(name, case when result ? name then result -> name || one else one end);
  end loop;
  return result;
exception when others then
  return null;
end $$;

-- The first text of a header, by one of its names in lower case.
create function header_text(headers jsonb, variadic names text[]) returns text
language sql immutable parallel safe
return (
  select case jsonb_typeof(h.value) when 'array' then h.value ->> 0 else h.value #>> '{}' end
  from jsonb_each(headers) h where lower(h.key) = any (names) limit 1
);

-- A record's value as JSON, by its headers; without a content type, JSON is told by its first character.
create function record_value(value bytea, headers jsonb, function text) returns jsonb
language plpgsql stable set search_path from current as $$
declare
  content constant text := trim(lower(split_part(header_text(headers, 'content-type'), ';', 1)));
  type_url constant text := header_text(headers, 'ce_type', 'ce-type');
  result jsonb;
begin
  if content ~ '^application/json$|\+json$' then
    return convert_from(value, 'UTF8')::jsonb;
  elsif content like 'text/%' then
    return to_jsonb(convert_from(value, 'UTF8'));
  end if;
  result := decode_payload(type_url, value, function);
  if result is null and coalesce(content, '') = '' and substring(value from 1 for 1) in ('{', '[') then
    return convert_from(value, 'UTF8')::jsonb;
  end if;
  return result;
exception when others then
  return null;
end $$;

-- A message of Stateferry's own.
create function own_value(type_name text, value bytea, function text) returns jsonb
language plpgsql stable set search_path from current as $$
declare
  bytes constant bytea := value || '';
begin
  if bytes is null then
    return null;
  end if;
  return decode_message(function, type_name, bytes, 0);
exception when others then
  return null;
end $$;

-- The topic of which a record is; of one that was put back on the command topic, the one that it came from.
create function source_topic(topic text, headers jsonb) returns text
language sql immutable parallel safe
return coalesce(substring(header_text(headers, 'stateferry-put-back') from '^(.+)/\d+/\d+/-?\d+$'), topic);

-- A text field of a message.
create function text_field(bytes bytea, field_number integer) returns text
language plpgsql immutable strict set search_path from current as $$
begin
  return (select utf8_text(string_agg(f.slice, '')) from wire_fields(bytes) f where f.number = field_number);
exception when others then
  return null;
end $$;

-- Every event. A query is fast where it names the generation, and the entity (type and id) or the shard.
create view events as
select
  e.generation,
  (
    select c ->> 'service' from function_version v, jsonb_array_elements(v.components) c
    where c ->> 'entityType' = e.entity_type order by v.discovered_at desc limit 1
  ) as component,
  e.entity_type, e.entity_id, e.seq, e.shard, e.shard_seq,
  substring(e.type_url from '[^/]*$') as type,
  decode_payload(e.type_url, e.payload, (
    select c.function from chunk c
    where c.generation = e.generation and c.shard = e.shard and c.shard_seq >= e.shard_seq
    order by c.shard_seq, c.chunk limit 1
  )) as data,
  e.command_id,
  substring(e.command_id from '^([^/#]+)/\d+/\d+') as input_topic,
  substring(e.command_id from '^[^/#]+/(\d+)/\d+')::integer as input_partition,
  substring(e.command_id from '^[^/#]+/\d+/(\d+)')::bigint as input_offset,
  position('#' in e.command_id) > 0 as derived,
  e.at,
  (
    select c.chunk from chunk c
    where c.generation = e.generation and c.shard = e.shard and c.shard_seq >= e.shard_seq
    order by c.shard_seq, c.chunk limit 1
  ) as chunk,
  (
    select c.function from chunk c
    where c.generation = e.generation and c.shard = e.shard and c.shard_seq >= e.shard_seq
    order by c.shard_seq, c.chunk limit 1
  ) as function,
  e.epoch, e.type_url, e.payload
from event e;

-- Every output record of the chunks that the outbox keeps.
create view outputs as
select
  o.generation, o.shard, o.chunk, r.ordinal, r.topic, r.partition,
  utf8_text(r.key) as key,
  header_text(h.headers, 'ce_type', 'ce-type') as type,
  case
    when r.topic = d.name || '-commands' and source_topic(r.topic, h.headers) = r.topic
      then own_value('stateferry.internal.CommandRecord', r.value, c.function)
    when r.topic = d.name || '-answers' then own_value('stateferry.internal.AnswerRecord', r.value, c.function)
    else record_value(r.value, h.headers, c.function)
  end as value,
  h.headers,
  coalesce(
    header_text(h.headers, 'stateferry-origin'),
    -- A dead letter says where its record was.
    (h.headers ->> 'stateferry-topic') || '/' || (h.headers ->> 'stateferry-partition') || '/' || (h.headers ->> 'stateferry-offset')
  ) as command_id,
  o.at,
  c.function, r.key as key_bytes, r.value as value_bytes
from outbox o
left join chunk c using (generation, shard, chunk)
left join deployment d on true
cross join lateral outbox_records(o.records) r
cross join lateral (select record_headers(r.header_names, r.headers) as headers) h;

-- Every input record that is kept, in the order in which each shard applied them.
create view commands as
select
  i.generation, i.shard, i.chunk, r.ordinal, r.topic, r.partition, r."offset", r."timestamp",
  utf8_text(r.key) as key,
  coalesce(
    case when r.topic = d.name || '-commands' then header_text(h.headers, 'stateferry-origin') end,
    case when k.is_command then nullif(text_field(r.value, 1), '') end,
    r.topic || '/' || r.partition || '/' || r."offset"
  ) as command_id,
  case when k.is_command then text_field(r.value, 2) end as service,
  case when k.is_command then text_field(r.value, 3) end as method,
  case when k.is_command then nullif(text_field(r.value, 4), '') end as entity_id,
  case when k.is_command then substring(text_field(r.value, 5) from '[^/]*$')
       else header_text(h.headers, 'ce_type', 'ce-type') end as type,
  case when k.is_command then own_value('stateferry.internal.CommandRecord', r.value, c.function) -> 'payload'
       else record_value(r.value, h.headers, c.function) end as value,
  case when k.is_command then own_value('stateferry.internal.CommandRecord', r.value, c.function) - 'payload'
  end as command,
  h.headers,
  coalesce(r.ordinal = any (c.parked), false) as parked,
  c.at, c.function, r.key as key_bytes, r.value as value_bytes
from input i
join chunk c using (generation, shard, chunk)
left join deployment d on true
cross join lateral input_records(i.records) r
cross join lateral (select record_headers(r.header_names, r.headers) as headers) h
cross join lateral (
  select r.topic = d.name || '-commands' and source_topic(r.topic, h.headers) = r.topic as is_command
) k;

comment on view events is 'Every event of the journal, its payload as JSON';
comment on view outputs is 'Every output record of the chunks that the outbox keeps';
comment on view commands is 'Every input record that the journal keeps (journal.keepInputs)';

-- A block with an exception handler may run in a parallel query from Postgres 17 on.
do $$
begin
  if current_setting('server_version_num')::integer >= 170000 then
    alter function decode_payload parallel safe;
    alter function utf8_text parallel safe;
    alter function outbox_records parallel safe;
    alter function input_records parallel safe;
    alter function record_headers parallel safe;
    alter function record_value parallel safe;
    alter function own_value parallel safe;
    alter function text_field parallel safe;
  end if;
end $$;
