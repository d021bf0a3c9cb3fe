-- snapshot: the compare-and-set write of one service's snapshot and private state. Needs keys, events (and what those need).
-- state:<service>  hash ver (grows by one with each write), memo (the worker's own JSON), ticket (the newest look written)

-- Says whether the snapshot that a decision was made on is still the one that stands.
local function same_version(service, version)
  return (redis.call('HGET', state_key(service), 'ver') or '0') == version
end

-- flat: {field, value, ...}, '' for absent. Writes what differs; emits discovered or changed where more than observed_at did,
-- or where force says so. Returns the snapshot and the next version.
local function write_snapshot(service, flat, version, memo, ticket, cause, force)
  local key = service_key(service)
  local old = read_hash(key)
  local snapshot, changed, sets, drops = old or {}, {}, {}, {}
  local previous = old and old.status
  for i = 1, #flat, 2 do
    local field, value = flat[i], flat[i + 1]
    if value == '' then value = nil end
    if snapshot[field] ~= value then
      snapshot[field] = value
      if field ~= 'observed_at' then changed[#changed + 1] = field end
      if value then
        sets[#sets + 1] = field
        sets[#sets + 1] = value
      else
        drops[#drops + 1] = field
      end
    end
  end
  if not old or #changed > 0 or force then
    snapshot.name = service
    snapshot.revision = string.format('%d', next_revision())
    sets[#sets + 1] = 'name'
    sets[#sets + 1] = service
    sets[#sets + 1] = 'revision'
    sets[#sets + 1] = snapshot.revision
    emit_service(old and 'changed' or 'discovered', snapshot, changed, previous, cause)
    if not old then redis.call('SADD', SERVICES, service) end
  end
  if #sets > 0 then redis.call('HSET', key, unpack(sets)) end
  if #drops > 0 then redis.call('HDEL', key, unpack(drops)) end
  version = string.format('%d', (tonumber(version) or 0) + 1)
  redis.call('HSET', state_key(service), 'ver', version, 'memo', memo, 'ticket', ticket)
  return snapshot, version
end
