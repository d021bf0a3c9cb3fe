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
  if holds_lease(service, id, token) then
    count = count + 1
    return_lane(service, id, rest)
  end
end
if count > 0 then wake() end
return count
