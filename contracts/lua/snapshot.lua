-- snapshot: the compare-and-set write of one service's snapshot and private state. Needs keys, log.
-- state:<service>  hash ver (grows by one with each write), memo (the worker's own JSON), ticket (the newest look written)
-- The worker made the event's JSON on the version that is checked here; the script numbers it and ends it.

-- Says whether the snapshot that a decision was made on is still the one that stands; refuses keys of a wrong type.
local function same_version(service, version, will_write)
  if will_write then redis.call('HLEN', service_key(service)) end
  return (redis.call('HGET', state_key(service), 'ver') or '0') == version
end

local function stale(service)
  local state = redis.call('HMGET', state_key(service), 'ver', 'memo')
  return {'stale', redis.call('HGETALL', service_key(service)), state[1] or '0', state[2] or ''}
end

-- kind: discovered or changed. body: JSON of the snapshot without its revision and closing brace; rest: JSON of what follows it.
-- Returns the error of the first event of a script, else nil.
local function tell_snapshot(kind, service, body, rest)
  return emit('service.' .. kind, '"' .. service .. '"', '{"service":', body, ',"revision":' .. next_revision() .. '},' .. rest .. '}')
end

-- given: a list in which from `first` on stand `count` words {field, value, ...} to set and then names of fields to delete.
-- told: the revision of its event, nil where there was none. Returns the next version.
local function write_snapshot(service, given, first, count, version, memo, ticket, told)
  local last = first + count - 1
  if told then
    redis.call('HSET', service_key(service), 'revision', string.format('%d', told), 'name', service, unpack(given, first, last))
  elseif count > 0 then
    redis.call('HSET', service_key(service), unpack(given, first, last))
  end
  if #given > last then redis.call('HDEL', service_key(service), unpack(given, last + 1)) end
  version = string.format('%d', (tonumber(version) or 0) + 1)
  redis.call('HSET', state_key(service), 'ver', version, 'memo', memo, 'ticket', ticket)
  return version
end

-- A receipt's JSON was begun by the worker; the times of this script and what others count are put in here.
local function tell_receipt(kind, id, body, called_at, started_at, finished_at, duplicates)
  local function quoted(text) return text and '"' .. text .. '"' or 'null' end
  return emit('command.' .. kind, '"' .. id .. '"', '{"command":', body, ',"called_at":' .. quoted(called_at) .. ',"started_at":' .. quoted(started_at)
    .. ',"finished_at":' .. quoted(finished_at) .. ',"duplicates":' .. (tonumber(duplicates) and duplicates or 'null')
    .. ',"revision":' .. next_revision() .. '}}')
end
