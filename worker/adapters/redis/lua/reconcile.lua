-- reconcile: after a lost reply, free the lanes that were granted to this process without its knowing.
-- include: keys time rfc3339 json fields events parse receipts lanes
-- KEYS  1 commands stream
-- ARGV  1 instance (of the worker process)  2.. tokens that it knows of
-- Returns the services freed. Counts no attempt: a grant that nobody heard of began nothing.
local wrong = require_types(LANE_TYPES)
if wrong then return wrong end
local known, freed = {}, {}
for i = 2, #ARGV do known[ARGV[i]] = true end
redis.call('PERSIST', LEASES)
for _, service in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
  local lease = redis.pcall('HMGET', lease_key(service), 'instance', 'token', 'id')
  if lease[1] == ARGV[1] and lease[2] ~= '' and not known[lease[2]] and is_type(lane_key(service), 'zset') then
    return_lane(service, lease[3], 0)
    freed[#freed + 1] = service
  end
end
if #freed > 0 then wake() end
return freed
