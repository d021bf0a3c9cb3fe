-- renew: prolong the leases that a worker holds.
-- include: keys time
-- KEYS  1 commands stream
-- ARGV  1 lease ms  2.. service, id, token, ...
-- Returns {now ms, held 0|1, ...} in the order asked. Its first write is allowed out of memory.
-- Invariant: only the holder of the token, before its deadline, prolongs.
local wrong = require_types({LEASES, 'zset'})
if wrong then return wrong end
for i = 2, #ARGV, 3 do
  wrong = require_types({lease_key(ARGV[i]), 'hash'})
  if wrong then return wrong end
end
redis.call('PERSIST', LEASES)
local out = {tostring(NOW)}
for i = 2, #ARGV, 3 do
  local lease = redis.call('HMGET', lease_key(ARGV[i]), 'id', 'token')
  local deadline = tonumber(redis.call('ZSCORE', LEASES, ARGV[i]) or '0')
  if ARGV[i + 2] ~= '' and lease[1] == ARGV[i + 1] and lease[2] == ARGV[i + 2] and deadline > NOW then
    redis.call('ZADD', LEASES, NOW + tonumber(ARGV[1]), ARGV[i])
    out[#out + 1] = '1'
  else
    out[#out + 1] = '0'
  end
end
return out
