-- settle: the end of a held command: receipt, snapshot, events, acknowledgement, joiners, and the next lane for the worker.
-- include: keys time log lease snapshot
-- KEYS  1 commands stream
-- ARGV  1 service  2 id  3 token  4 window ms  5 body of the started event's receipt, when it begins and settles in this step ('' not)
--       6 overdue_only 0|1  7 ver  8 memo ('' leaves the service alone)  9 kind of the snapshot's event ('' none)  10 its body  11 its rest
--       12 want (lanes wanted, 0 or 1)  13 worker  14 instance  15 token of the next  16 lease ms
--       17 body of the settled event's receipt  18 number of receipt arguments
--       19.. receipt field, value, ..., then snapshot field, value, ...
-- Returns {'ok', now ms, revision, ver, grants} | {'done'} (this token settled it before) | {'fenced'} | {'ended', status}
--         | {'early'} | {'stale', snapshot, ver, memo}
-- Invariant: acknowledged only together with a settled receipt and its event. Its first write is allowed out of memory.
local service, id, token, window = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local wrong = open_log()
if wrong then return wrong end
local facts = redis.call('HMGET', receipt_key(id), 'status', 'lease', 'entry', 'duplicates', 'called_at', 'started_at')
local status = facts[1]
if status and status ~= 'queued' and status ~= 'running' then return {facts[2] == token and 'done' or 'fenced'} end
if not status or not holds_lease(service, id, token) then return {'fenced'} end
local expires = redis.call('ZSCORE', EXPIRIES, id)
if status == 'queued' and (tonumber(expires or '') or NOW + 1) <= NOW then
  -- include-here: rfc3339 json fields events parse receipts lanes
  wrong = require_types(LANE_TYPES) or open_events()
  if wrong then return wrong end
  expire(receipt_of(id), window)
  return {'ended', 'expired'}
end
if ARGV[6] == '1' then
  -- include-here: rfc3339
  if (parse_ms(redis.call('HGET', receipt_key(id), 'expires_at') or '') or 0) > NOW then return {'early'} end
end
local writes, tells = ARGV[8] ~= '', ARGV[9] ~= ''
if writes and not same_version(service, ARGV[7], true) then return stale(service) end
if tells then redis.call('SISMEMBER', SERVICES, service) end
local joined = redis.call('LLEN', joiners_key(id)) > 0
wrong = require_types({SEQ, 'counter', READY, 'zset', lane_key(service), 'zset', COMMANDS, 'stream'})
if wrong then return wrong end

-- Out of memory all is written too: the first write is one that is allowed then and changes nothing. The events come before the
-- hashes, because the first of them may be refused. An empty SETRANGE changes nothing and says whether memory is short.
local full = type(redis.pcall('SETRANGE', SEQ, 0, '')) == 'table'
redis.call('PERSIST', LEASES)
local started_at, told = facts[6], nil
if ARGV[5] ~= '' and status == 'queued' then
  started_at = STAMP
  wrong = tell_receipt('started', id, ARGV[5], facts[5], started_at, nil, facts[4])
end
if not wrong and tells then
  wrong = tell_snapshot(ARGV[9], service, ARGV[10], ARGV[11])
  told = REVISION
end
wrong = wrong or tell_receipt('settled', id, ARGV[17], facts[5], started_at, STAMP, facts[4])
if wrong then return wrong end

local version, last = ARGV[7], 18 + tonumber(ARGV[18])
if writes then
  version = write_snapshot(service, {unpack(ARGV, last + 1)}, version, ARGV[8], redis.call('INCR', SEQ), told)
end
local sets = {'finished_at', STAMP, 'lease', token, 'revision', string.format('%d', REVISION)}
if started_at then
  sets[#sets + 1], sets[#sets + 2] = 'started_at', started_at
end
for i = 19, last, 2 do
  if ARGV[i + 1] ~= '' then
    sets[#sets + 1], sets[#sets + 2] = ARGV[i], ARGV[i + 1]
  end
end
redis.call('HSET', receipt_key(id), unpack(sets))
redis.call('PEXPIRE', receipt_key(id), window)
if status == 'queued' then
  redis.call('HDEL', receipt_key(id), 'losses')
  redis.call('ZREM', EXPIRIES, id)
end
if facts[3] then
  redis.pcall('XACK', COMMANDS, GROUP, facts[3])
  redis.pcall('XDEL', COMMANDS, facts[3])
end
redis.call('ZREM', lane_key(service), id)
if release_lane(service) and ARGV[12] ~= '1' then
  redis.pcall('XADD', WAKE, 'MAXLEN', '1', '*', 'w', '1') -- who wants no lane lets others know of this one
end
redis.pcall('XADD', RELOOK, 'MAXLEN', '~', '1000', '*', 's', service) -- a hint; the period finds what it does not
if joined then
  -- include-here: json fields events parse receipts joiners
  settle_joiners(read_hash(receipt_key(id)), id, window)
end

-- The next lane, where its head is plain; the rest is for take.
local grants = {}
local following = ARGV[12] == '1' and not full and redis.call('ZRANGE', READY, 0, 0)[1]
if following then
  local heads = redis.pcall('ZRANGE', lane_key(following), 0, 0)
  local receipt = heads[1] and redis.pcall('HGETALL', receipt_key(heads[1])) or {}
  local known = not receipt.err and to_map(receipt) or {}
  if known.status == 'queued' and known.service == following then
    grants[1] = lease_head(following, heads[1], receipt, '0',
      {worker = ARGV[13], instance = ARGV[14], token = ARGV[15], lease = tonumber(ARGV[16])})
    if grants[1] then redis.call('ZREM', READY, following) end
  end
end
return {'ok', tostring(NOW), string.format('%d', REVISION), version, grants}
