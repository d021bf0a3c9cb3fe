-- begin: the moment a command starts: attempt counted, evidence stored, `desired` written. Decides every race with cancel and expiry.
-- include: keys time log lease snapshot
-- KEYS  1 commands stream
-- ARGV  1 service  2 id  3 token  4 lease ms  5 ver  6 memo ('' leaves the service alone)
--       7 body of the started event's receipt, for a first begin
--       8 kind of the snapshot's event ('' none)  9 its body  10 its rest  11 number of receipt arguments
--       12 window ms  13.. receipt field, value, ... (the evidence; '' deletes), then snapshot field, value, ...
-- Returns {'ok', now ms, revision, ver, called_at} | {'fenced'} | {'ended', status} | {'stale', snapshot, ver, memo}
-- Invariant: no evidence, no call. A first begin counts attempt 1; a later one, by the same holder after a takeover or an
-- engine outage, renews the evidence and counts nothing (the takeover did).
local service, id, token = ARGV[1], ARGV[2], ARGV[3]
local wrong = open_log()
if wrong then return wrong end
local facts = redis.call('HMGET', receipt_key(id), 'status', 'started_at', 'duplicates')
local status = facts[1]
if not holds_lease(service, id, token) or (status ~= 'queued' and status ~= 'running') then return {'fenced'} end
local first = status == 'queued'
if first and (tonumber(redis.call('ZSCORE', EXPIRIES, id) or '') or NOW + 1) <= NOW then
  -- include-here: rfc3339 json fields events parse receipts lanes
  wrong = require_types(LANE_TYPES) or open_events()
  if wrong then return wrong end
  expire(receipt_of(id), tonumber(ARGV[12]))
  return {'ended', 'expired'}
end
local tells = ARGV[8] ~= ''
if not same_version(service, ARGV[5], tells) then return stale(service) end
local joiners = first and redis.call('LRANGE', joiners_key(id), 0, -1)
if tells then redis.call('SISMEMBER', SERVICES, service) end
wrong = require_types({SEQ, 'counter'})
if wrong then return wrong end

local started_at = first and STAMP or facts[2]
if first then wrong = tell_receipt('started', id, ARGV[7], STAMP, STAMP, nil, facts[3]) end
if not wrong and tells then wrong = tell_snapshot(ARGV[8], service, ARGV[9], ARGV[10]) end
if wrong then return wrong end

local last = 12 + tonumber(ARGV[11])
local sets, drops = {'called_at', STAMP}, {}
if first then sets = {'called_at', STAMP, 'status', 'running', 'attempt', '1', 'started_at', started_at} end
for i = 13, last, 2 do
  if ARGV[i + 1] ~= '' then
    sets[#sets + 1], sets[#sets + 2] = ARGV[i], ARGV[i + 1]
  else
    drops[#drops + 1] = ARGV[i]
  end
end
redis.call('HSET', receipt_key(id), unpack(sets))
if first then
  redis.call('ZREM', EXPIRIES, id, unpack(joiners))
  drops[#drops + 1] = 'losses'
end
if #drops > 0 then redis.call('HDEL', receipt_key(id), unpack(drops)) end
redis.call('ZADD', LEASES, NOW + tonumber(ARGV[4]), service)
local version = ARGV[5]
if tells then
  version = write_snapshot(service, {unpack(ARGV, last + 1)}, version, ARGV[6], redis.call('INCR', SEQ), REVISION)
elseif ARGV[6] ~= '' then
  version = write_snapshot(service, {}, version, ARGV[6], redis.call('INCR', SEQ), false) -- a new version: the observer must not write over the memo
end
return {'ok', tostring(NOW), string.format('%d', REVISION), version, STAMP}
