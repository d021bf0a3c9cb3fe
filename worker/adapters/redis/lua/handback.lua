-- handback: give lanes back for another worker to take at once, or after a rest. Counts no attempt.
-- include: keys time rfc3339 json fields events parse receipts lanes
-- KEYS  1 commands stream
-- ARGV  1 rest ms (0: at once)  2.. service, id, token, ...
-- Returns how many were handed back. Its first write is allowed out of memory.
-- Invariant: a begun head keeps its evidence and its lane; whoever takes it judges before it acts.
local wrong = require_types(LANE_TYPES)
if wrong then return wrong end
local rest, count = tonumber(ARGV[1]), 0
for i = 2, #ARGV, 3 do
  wrong = require_types({lease_key(ARGV[i]), 'hash', lane_key(ARGV[i]), 'zset', receipt_key(ARGV[i + 1]), 'hash'})
  if wrong then return wrong end
end
redis.call('PERSIST', LEASES)
for i = 2, #ARGV, 3 do
  local service, id, token = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local lease = redis.call('HMGET', lease_key(service), 'id', 'token')
  if lease[1] == id and lease[2] == token then
    count = count + 1
    local running = redis.call('HGET', receipt_key(id), 'status') == 'running'
    if running then redis.call('HINCRBY', receipt_key(id), 'handbacks', 1) end
    if rest > 0 then
      redis.call('HSET', lease_key(service), 'token', '', 'rest', '1')
      redis.call('ZADD', LEASES, NOW + rest, service)
    elseif running then
      redis.call('HSET', lease_key(service), 'token', '')
      redis.call('ZREM', LEASES, service)
      make_ready(service)
    else
      release_lane(service)
    end
  end
end
if count > 0 then wake() end
return count
