-- begin: the moment commands start: attempts counted, evidence stored, `desired` written. Decides every race with cancel and expiry.
-- include: keys time log lease snapshot batch
-- KEYS  1 commands stream
-- ARGV  1 window ms  2.. a batch of commands, of each
--       1 service  2 id  3 token  4 ms to prolong the lease to (0: leave it)  5 ver  6 memo ('' leaves the service alone)
--       7 body of the started event's receipt, for a first begin
--       8 kind of the snapshot's event ('' none)  9 its body  10 its rest  11 number of receipt arguments
--       12.. receipt field, value, ... (the evidence; '' deletes), then snapshot field, value, ...
-- Returns of each {'ok', now ms, revision, ver, called_at} | {'fenced'} | {'ended', status} | {'stale', snapshot, ver, memo}
--         | {'refused', why}
-- Errors  NOEPOCH, WRONGTYPE: nothing was written, but that a number of `seq` may be used up.
-- Invariant: no evidence, no call. A first begin counts attempt 1; a later one, by the same holder after a takeover or an
-- engine outage, renews the evidence and counts nothing (the takeover did).
local window = tonumber(ARGV[1])
local wrong = open_log()
if wrong then return wrong end

local function end_late(id)
  -- include-here: rfc3339 json fields events parse receipts lanes
  if TOLD then keep_revision() end
  local why = require_types(LANE_TYPES) or open_events()
  if why then return why end
  expire(receipt_of(id), window)
  return {'ended', 'expired'}
end

local function begin(service, id, token, lease, ver, memo, body, kind, snapshot, rest, count, ...)
  local facts = redis.call('HMGET', receipt_key(id), 'status', 'started_at', 'duplicates', 'losses')
  local status = facts[1]
  if not holds_lease(service, id, token) or (status ~= 'queued' and status ~= 'running') then return {'fenced'} end
  local first, tells = status == 'queued', kind ~= ''
  if first and (tonumber(redis.call('ZSCORE', EXPIRIES, id) or '') or NOW + 1) <= NOW then return end_late(id) end
  if not same_version(service, ver, tells) then return stale(service) end
  local joiners = first and redis.call('LRANGE', joiners_key(id), 0, -1)
  if kind == 'discovered' then redis.call('SISMEMBER', SERVICES, service) end

  local number = ticket()
  if type(number) == 'table' then return number end
  local refused
  if first then refused = tell_receipt('started', id, body, STAMP, STAMP, nil, facts[3]) end
  if not refused and tells then refused = tell_snapshot(kind, service, snapshot, rest) end
  if refused then return refused end

  local given, sets, drops = {...}, {'called_at', STAMP}, {}
  if first then sets = {'called_at', STAMP, 'status', 'running', 'attempt', '1', 'started_at', STAMP} end
  count = tonumber(count)
  for i = 1, count, 2 do
    if given[i + 1] ~= '' then
      sets[#sets + 1], sets[#sets + 2] = given[i], given[i + 1]
    else
      drops[#drops + 1] = given[i]
    end
  end
  redis.call('HSET', receipt_key(id), unpack(sets))
  if first then redis.call('ZREM', EXPIRIES, id, unpack(joiners)) end
  if first and facts[4] then drops[#drops + 1] = 'losses' end
  if #drops > 0 then redis.call('HDEL', receipt_key(id), unpack(drops)) end
  if lease ~= '0' then redis.call('ZADD', LEASES, string.format('%d', NOW + tonumber(lease)), service) end
  if tells then
    ver = write_snapshot(service, {unpack(given, count + 1)}, ver, memo, number, REVISION)
    if kind == 'discovered' then redis.call('SADD', SERVICES, service) end
  elseif memo ~= '' then
    ver = write_snapshot(service, {}, ver, memo, number, false) -- a new version: the observer must not write over the memo
  end
  return {'ok', tostring(NOW), string.format('%d', REVISION), ver, STAMP}
end

return each(2, begin)
