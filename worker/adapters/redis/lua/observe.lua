-- observe: write what the observer saw of one service.
-- include: keys time log snapshot
-- KEYS  1 commands stream
-- ARGV  1 observer token  2 service  3 ticket of the look  4 ver  5 memo  6 kind of the snapshot's event ('' none)  7 its body
--       8 its rest  9 rest of an exhausted event after it ('' none)
--       10 number of snapshot arguments  11.. snapshot field, value, ..., then names of fields to delete
-- Returns {'ok', revision, ver} | {'fenced'} | {'held'} (a command holds the lane) | {'old'} | {'stale', snapshot, ver, memo}
-- Invariant: one observer; a look with a lower ticket than the one that stands is refused; a held lane's snapshot is its holder's.
local service = ARGV[2]
local wrong = require_types({OBSERVER, 'hash', service_key(service), 'hash', state_key(service), 'hash', lease_key(service), 'hash',
  SERVICES, 'set', CHANGES, 'stream'}) or open_log()
if wrong then return wrong end
local observer = redis.call('HMGET', OBSERVER, 'token', 'deadline')
if observer[1] ~= ARGV[1] or (tonumber(observer[2] or '') or 0) <= NOW then return {'fenced'} end
if redis.call('EXISTS', lease_key(service)) == 1 then return {'held'} end
local ticket = redis.call('HGET', state_key(service), 'ticket')
if (tonumber(ticket or '') or 0) > tonumber(ARGV[3]) then return {'old'} end
if not same_version(service, ARGV[4], true) then return stale(service) end
if ARGV[6] ~= '' then wrong = tell_snapshot(ARGV[6], service, ARGV[7], ARGV[8]) end
if wrong then return wrong end
if ARGV[9] ~= '' then wrong = tell_snapshot('exhausted', service, ARGV[7], ARGV[9]) end
if wrong then return wrong end
local version = write_snapshot(service, ARGV, 11, tonumber(ARGV[10]), ARGV[4], ARGV[5], ARGV[3], (ARGV[6] ~= '' or ARGV[9] ~= '') and REVISION)
if ARGV[6] ~= '' or ARGV[9] ~= '' then redis.call('SADD', SERVICES, service) end
return {'ok', string.format('%d', REVISION), version}
