-- lease: who holds a lane's head. Needs keys, time.

-- Says whether this token holds the lane's head at this time.
local function holds_lease(service, id, token)
  local lease = redis.call('HMGET', lease_key(service), 'id', 'token')
  return token ~= '' and lease[1] == id and lease[2] == token and tonumber(redis.call('ZSCORE', LEASES, service) or '0') > NOW
end

-- turn: its place among those that wait; a new one where none is given.
local function make_ready(service, turn)
  redis.call('ZADD', READY, 'NX', turn or redis.call('INCR', SEQ), service)
end

-- turn: a number of `seq` that the caller drew and that nothing has entered with; a new one where none is given.
local function enter_lane(service, id, first, turn)
  turn = string.format('%d', turn or redis.call('INCR', SEQ))
  redis.call('ZADD', lane_key(service), 'NX', first and '0' or turn, id)
  if not redis.call('ZSCORE', LEASES, service) then make_ready(service, turn) end
end

local function lane_head(service) return redis.call('ZRANGE', lane_key(service), '0', '0')[1] end

-- Frees the lane for whoever takes its next head. Returns whether there is one.
local function release_lane(service)
  redis.call('DEL', lease_key(service))
  redis.call('ZREM', LEASES, service)
  local more = redis.call('EXISTS', lane_key(service)) == 1
  if more then make_ready(service) end
  return more
end

-- Gives the head to a worker; `keep_leases` must follow in the same step. Returns what the worker needs: {service, id, token,
-- takeover 0|1, receipt, snapshot, ver, memo}; nil, and writes nothing, where a key of the service is of a wrong type. who.lean
-- leaves the snapshot out, as ''.
local function lease_head(service, id, receipt, takeover, who)
  local snapshot = not who.lean and redis.pcall('HGETALL', service_key(service)) or ''
  local state = redis.pcall('HMGET', state_key(service), 'ver', 'memo')
  if state.err or (snapshot ~= '' and snapshot.err) then return nil end
  who.given = who.given or {}
  local token = who.token .. ':' .. (#who.given / 2 + 1)
  local set = redis.pcall('HSET', lease_key(service), 'id', id, 'token', token, 'worker', who.worker, 'instance', who.instance)
  if type(set) == 'table' then return nil end
  who.lapses = who.lapses or string.format('%d', NOW + who.lease) -- text: Redis writes a number out with all its digits
  who.given[#who.given + 1], who.given[#who.given + 2] = who.lapses, service
  return {service, id, token, takeover, receipt, snapshot, state[1] or '0', state[2] or ''}
end

-- Writes down when the leases lapse that were given in this step.
local function keep_leases(who)
  local given = who.given or {}
  for i = 1, #given, 1000 do redis.call('ZADD', LEASES, unpack(given, i, math.min(i + 999, #given))) end
end

-- Gives the head to a worker where it is plain: queued, and of this lane. Else nil, and writes nothing. plain: receipts by id that
-- were read in this step and found to be so.
local function lease_plain_head(service, who, plain)
  local heads = redis.pcall('ZRANGE', lane_key(service), '0', '0')
  local receipt = plain and plain[heads[1]]
  if receipt then return lease_head(service, heads[1], receipt, '0', who) end
  receipt = heads[1] and redis.pcall('HGETALL', receipt_key(heads[1])) or {}
  local queued, ours = false, false
  for i = 1, #receipt, 2 do
    if receipt[i] == 'status' then queued = receipt[i + 1] == 'queued' end
    if receipt[i] == 'service' then ours = receipt[i + 1] == service end
  end
  if not (queued and ours) then return nil end
  return lease_head(service, heads[1], receipt, '0', who)
end
