-- observe: write what the observer saw of one service.
-- include: keys time rfc3339 json fields events snapshot
-- KEYS  1 commands stream
-- ARGV  1 observer token  2 service  3 ticket of the look  4 ver  5 memo  6 cause (JSON)  7 exhausted 0|1  8 republish 0|1 (an event even when nothing differs)
--       9.. snapshot field, value, ...
-- Returns {'ok', revision, ver} | {'fenced'} | {'held'} (a command holds the lane) | {'old'} | {'stale', snapshot, ver, memo}
-- Invariant: one observer; a look with a lower ticket than the one that stands is refused; a held lane's snapshot is its holder's.
local service = ARGV[2]
local wrong = require_types({OBSERVER, 'hash', service_key(service), 'hash', state_key(service), 'hash', BASE .. 'lease:' .. service, 'hash',
  SERVICES, 'set'}) or open_events()
if wrong then return wrong end
local observer = redis.call('HMGET', OBSERVER, 'token', 'deadline')
if observer[1] ~= ARGV[1] or (tonumber(observer[2] or '') or 0) <= NOW then return {'fenced'} end
if redis.call('EXISTS', lease_key(service)) == 1 then return {'held'} end
local state = redis.call('HMGET', state_key(service), 'ver', 'memo', 'ticket')
if (tonumber(state[3] or '') or 0) > tonumber(ARGV[3]) then return {'old'} end
if (state[1] or '0') ~= ARGV[4] then return {'stale', redis.call('HGETALL', service_key(service)), state[1] or '0', state[2] or ''} end
local flat = {}
for i = 9, #ARGV do flat[#flat + 1] = ARGV[i] end
local snapshot, version = write_snapshot(service, flat, ARGV[4], ARGV[5], ARGV[3], ARGV[6], ARGV[8] == '1')
if ARGV[7] == '1' then
  snapshot.revision = string.format('%d', next_revision())
  emit_service('exhausted', snapshot, {}, snapshot.status, ARGV[6])
  redis.call('HSET', service_key(service), 'revision', snapshot.revision)
end
return {'ok', string.format('%d', REVISION), version}
