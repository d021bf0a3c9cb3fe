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
  if redis.call('TYPE', lease_key(service)).ok == 'hash' then
    local lease = redis.call('HMGET', lease_key(service), 'instance', 'token', 'id')
    if lease[1] == ARGV[1] and lease[2] ~= '' and not known[lease[2]] then
      if lease[3] and redis.call('HGET', receipt_key(lease[3]), 'status') == 'running' then
        redis.call('HINCRBY', receipt_key(lease[3]), 'handbacks', 1)
        redis.call('HSET', lease_key(service), 'token', '')
        redis.call('ZREM', LEASES, service)
        make_ready(service)
      else
        release_lane(service)
      end
      freed[#freed + 1] = service
    end
  end
end
if #freed > 0 then wake() end
return freed
