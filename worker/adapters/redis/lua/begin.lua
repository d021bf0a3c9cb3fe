-- begin: the moment a command starts: attempt counted, evidence stored, `desired` written. Decides every race with cancel and expiry.
-- include: keys time rfc3339 json fields events parse receipts lanes snapshot
-- KEYS  1 commands stream
-- ARGV  1 service  2 id  3 token  4 lease ms  5 window ms  6 ver  7 memo  8 cause (JSON)  9 number of receipt arguments
--       10.. receipt field, value, ... (the evidence), then snapshot field, value, ...
-- Returns {'ok', now ms, revision, ver, called_at} | {'fenced'} | {'ended', status} | {'stale', snapshot, ver, memo}
-- Invariant: no evidence, no call. A first begin counts attempt 1; a later one, by the same holder after a takeover or an
-- engine outage, renews the evidence and counts nothing (the takeover did).
local service, id, token = ARGV[1], ARGV[2], ARGV[3]
local wrong = require_types({receipt_key(id), 'hash', lease_key(service), 'hash', joiners_key(id), 'list', SERVICES, 'set', LOOKS, 'counter',
  service_key(service), 'hash', state_key(service), 'hash', lane_key(service), 'zset'}) or require_types(LANE_TYPES) or open_events()
if wrong then return wrong end

local receipt = receipt_of(id)
if not receipt or not holds_lease(service, id, token) then return {'fenced'} end
receipt.service = service
if receipt.status ~= 'queued' and receipt.status ~= 'running' then return {'fenced'} end
local first = receipt.status == 'queued'
if first and (parse_ms(receipt.expires_at or '') or 0) <= NOW then
  expire(receipt, tonumber(ARGV[5]))
  return {'ended', 'expired'}
end
if not same_version(service, ARGV[6]) then
  local state = redis.call('HMGET', state_key(service), 'ver', 'memo')
  return {'stale', redis.call('HGETALL', service_key(service)), state[1] or '0', state[2] or ''}
end

local last = 9 + tonumber(ARGV[9])
local names, drops = {'status', 'called_at', 'attempt', 'worker', 'started_at'}, {}
for i = 10, last, 2 do
  receipt[ARGV[i]] = ARGV[i + 1] ~= '' and ARGV[i + 1] or nil
  local list = receipt[ARGV[i]] and names or drops
  list[#list + 1] = ARGV[i]
end
receipt.called_at = STAMP
if first then
  receipt.status, receipt.attempt, receipt.started_at = 'running', '1', STAMP
  emit_command('started', receipt)
  redis.call('ZREM', EXPIRIES, id, unpack(redis.call('LRANGE', joiners_key(id), 0, -1)))
  redis.call('HDEL', receipt_key(id), 'losses')
end
write_receipt(receipt, names)
if #drops > 0 then redis.call('HDEL', receipt_key(id), unpack(drops)) end
redis.call('ZADD', LEASES, NOW + tonumber(ARGV[4]), service)
local flat = {}
for i = last + 1, #ARGV do flat[#flat + 1] = ARGV[i] end
local version = ARGV[6]
if #flat > 0 or ARGV[7] ~= '' then
  version = select(2, write_snapshot(service, flat, version, ARGV[7], redis.call('INCR', LOOKS), ARGV[8]))
end
return {'ok', tostring(NOW), string.format('%d', REVISION), version, STAMP}
