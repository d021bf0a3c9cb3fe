-- begin: the moment commands start: attempts counted, evidence stored, `desired` written. Decides every race with cancel and expiry.
-- include: keys time log lease snapshot batch
-- KEYS  1 commands stream
-- ARGV  1 window ms  2.. a batch of commands, of each
--       1 service  2 id  3 token  4 ms to prolong the lease to (0: leave it)  5 ver  6 memo ('' leaves the service alone)
--       7 body of the started event's receipt, for a first begin
--       8 kind of the snapshot's event ('' none)  9 its body  10 its rest  11 number of receipt arguments
--       12 number of receipt fields to delete  13 number of snapshot arguments
--       14.. receipt field, value, ... (the evidence), the names to delete, snapshot field, value, ..., names of these to delete
-- Returns of each {'ok', now ms, revision, ver, called_at} | {'fenced'} | {'ended', status} | {'stale', snapshot, ver, memo}
--         | {'refused', why}
-- Errors  NOEPOCH, WRONGTYPE: nothing was written, but that a number of `seq` may be used up.
-- Invariant: no evidence, no call. A first begin counts attempt 1; a later one, by the same holder after a takeover or an
-- engine outage, renews the evidence and counts nothing (the takeover did).
local window = tonumber(ARGV[1])
local BEGUN = {} -- what can expire no more
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

local function begin(service, id, token, lease, ver, memo, body, kind, snapshot, rest, count, gone, sets, ...)
  local facts = redis.call('HMGET', receipt_key(id), 'status', 'started_at', 'duplicates', 'losses')
  local status = facts[1]
  if not holds_lease(service, id, token) or (status ~= 'queued' and status ~= 'running') then return {'fenced'} end
  local first, tells = status == 'queued', kind ~= ''
  if first and (tonumber(redis.call('ZSCORE', EXPIRIES, id) or '') or NOW + 1) <= NOW then return end_late(id) end
  if not same_version(service, ver, tells) then return stale(service) end
  local joiners = first and redis.call('LRANGE', joiners_key(id), '0', '-1')
  if kind == 'discovered' then redis.call('SISMEMBER', SERVICES, service) end

  local number = ticket()
  if type(number) == 'table' then return number end
  local refused
  if first then refused = tell_receipt('started', id, body, STAMP, STAMP, nil, facts[3]) end
  if not refused and tells then refused = tell_snapshot(kind, service, snapshot, rest) end
  if refused then return refused end

  local given = {...}
  count, gone = tonumber(count), tonumber(gone)
  if first then
    redis.call('HSET', receipt_key(id), 'called_at', STAMP, 'status', 'running', 'attempt', '1', 'started_at', STAMP, unpack(given, 1, count))
    BEGUN[#BEGUN + 1] = id
    if joiners[1] then redis.call('ZREM', EXPIRIES, unpack(joiners)) end
    if facts[4] then redis.call('HDEL', receipt_key(id), 'losses') end
  else
    redis.call('HSET', receipt_key(id), 'called_at', STAMP, unpack(given, 1, count))
    if gone > 0 then redis.call('HDEL', receipt_key(id), unpack(given, count + 1, count + gone)) end
  end
  if lease ~= '0' then redis.call('ZADD', LEASES, string.format('%d', NOW + tonumber(lease)), service) end
  if tells then
    ver = write_snapshot(service, given, count + gone + 1, tonumber(sets), ver, memo, number, REVISION)
    if kind == 'discovered' then redis.call('SADD', SERVICES, service) end
  elseif memo ~= '' then
    ver = write_snapshot(service, {}, 1, 0, ver, memo, number, nil) -- a new version: the observer must not write over the memo
  end
  return {'ok', tostring(NOW), string.format('%d', REVISION), ver, STAMP}
end

local answers = each(2, begin)
if BEGUN[1] then redis.call('ZREM', EXPIRIES, unpack(BEGUN)) end
return answers
