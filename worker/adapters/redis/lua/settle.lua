-- settle: the end of held commands: receipt, snapshot, events, acknowledgement, joiners, and for each the next lane for the worker.
-- include: keys time log lease snapshot batch
-- KEYS  1 commands stream
-- ARGV  1 window ms  2 lease ms  3 worker  4 instance  5.. a batch of commands, of each
--       1 service  2 id  3 token  4 body of the started event's receipt, when it begins and settles in this step ('' not)
--       5 overdue_only 0|1  6 ver  7 memo ('' leaves the service alone)  8 kind of the snapshot's event ('' none)  9 its body  10 its rest
--       11 want (0 no lane, 1 one, 2 one without its service's snapshot)  12 token of the next  13 body of the settled event's receipt  14 number of receipt arguments
--       15 number of snapshot arguments  16.. receipt field, value, ..., snapshot field, value, ..., names of these to delete
-- Returns of each {'ok', now ms, revision, ver, grants} | {'done'} (this token settled it before) | {'fenced'} | {'ended', status}
--         | {'early'} | {'stale', snapshot, ver, memo} | {'refused', why}
-- Errors  NOEPOCH, WRONGTYPE: nothing was written, but that a number of `seq` may be used up.
-- Invariant: acknowledged only together with a settled receipt and its event. Goes on out of memory, but gives no lane then.
local window = ARGV[1]
local who = {worker = ARGV[3], instance = ARGV[4], lease = tonumber(ARGV[2])}
local wrong = require_types({COMMANDS, 'stream'}) or open_log()
if wrong then return wrong end

local DONE = {} -- entries that go
local LOOKS = {} -- services to look at, as fields of one entry for the observer
local FREED, LEASED = {}, {} -- services whose lanes nobody holds any more, and the keys of their leases
local WANTS = {} -- who wants a lane: token, lean, and the list of grants that it goes to
local FULL = false -- out of memory
-- The batch's number. Out of memory too: PERSIST is a write that is allowed then, changes nothing, and opens the way for the others.
local function number_or_make_room()
  local number = ticket()
  if type(number) == 'table' and string.find(number.err, '^OOM') then
    FULL = true
    redis.call('PERSIST', LEASES)
    number = ticket()
  end
  return number
end

local function end_late(id)
  -- include-here: rfc3339 json fields events parse receipts lanes
  if TOLD then keep_revision() end
  local why = require_types(LANE_TYPES) or open_events()
  if why then return why end
  expire(receipt_of(id), tonumber(window))
  return {'ended', 'expired'}
end

local function is_early(id)
  -- include-here: rfc3339
  return (parse_ms(redis.call('HGET', receipt_key(id), 'expires_at') or '') or 0) > NOW
end

local function end_joiners(id)
  -- include-here: json fields events parse receipts joiners
  settle_joiners(read_hash(receipt_key(id)), id, tonumber(window))
end

local function wake_others() redis.pcall('XADD', WAKE, 'MAXLEN', '1', '*', 'w', '1') end

-- Gives the lanes that wait longest, where their heads are plain, to those that want one; the rest is for take, by whoever comes.
local function grant_next()
  local heads, at, left = redis.pcall('ZPOPMIN', READY, #WANTS), 1, false -- none where READY is of another type
  for _, wish in ipairs(WANTS) do
    who.token, who.lean = wish.token, wish.lean
    local grant
    while heads[at] and not grant do
      grant = lease_plain_head(heads[at], who)
      if not grant then
        redis.call('ZADD', READY, heads[at + 1], heads[at])
        left = true
      end
      at = at + 2
    end
    wish.grants[1] = grant
  end
  keep_leases(who)
  if left then wake_others() end
end

local function settle(service, id, token, started, overdue, ver, memo, kind, snapshot, rest, want, next_token, body, count, sets, ...)
  local facts = redis.call('HMGET', receipt_key(id), 'status', 'lease', 'entry', 'duplicates', 'called_at', 'started_at', 'losses')
  local status, entry, duplicates, called_at, started_at = facts[1], facts[3], facts[4], facts[5], facts[6]
  if status and status ~= 'queued' and status ~= 'running' then return {facts[2] == token and 'done' or 'fenced'} end
  if not status or not holds_lease(service, id, token) then return {'fenced'} end
  local queued = status == 'queued'
  if queued and (tonumber(redis.call('ZSCORE', EXPIRIES, id) or '') or NOW + 1) <= NOW then return end_late(id) end
  if overdue == '1' and is_early(id) then return {'early'} end
  local writes, tells = memo ~= '', kind ~= ''
  if writes and not same_version(service, ver, true) then return stale(service) end
  if kind == 'discovered' then redis.call('SISMEMBER', SERVICES, service) end
  local joined = redis.call('LLEN', joiners_key(id)) > 0
  if joined then redis.call('ZSCORE', EXPIRIES, id) end
  local length = redis.call('ZCARD', lane_key(service))
  if length > 1 then redis.call('ZCARD', READY) end

  -- The events come before the hashes, because the first of them may be refused.
  local number = number_or_make_room()
  if type(number) == 'table' then return number end
  local told, refused
  if started ~= '' and queued then
    started_at = STAMP
    refused = tell_receipt('started', id, started, called_at, started_at, nil, duplicates)
  end
  if not refused and tells then
    refused = tell_snapshot(kind, service, snapshot, rest)
    told = REVISION
  end
  refused = refused or tell_receipt('settled', id, body, called_at, started_at, STAMP, duplicates)
  if refused then return refused end

  local given = {...}
  count = tonumber(count)
  if writes then
    ver = write_snapshot(service, given, count + 1, tonumber(sets), ver, memo, number, told)
    if kind == 'discovered' then redis.call('SADD', SERVICES, service) end
  end
  redis.call('HSET', receipt_key(id), 'finished_at', STAMP, 'lease', token, 'revision', string.format('%d', REVISION), unpack(given, 1, count))
  if started ~= '' and queued then redis.call('HSET', receipt_key(id), 'started_at', started_at) end
  redis.call('PEXPIRE', receipt_key(id), window)
  if queued then redis.call('ZREM', EXPIRIES, id) end
  if facts[7] then redis.call('HDEL', receipt_key(id), 'losses') end
  DONE[#DONE + 1] = entry
  FREED[#FREED + 1], LEASED[#LEASED + 1] = service, lease_key(service)
  if length > redis.call('ZREM', lane_key(service), id) then
    redis.call('ZADD', READY, 'NX', number, service)
    if want == '0' then wake_others() end -- who wants no lane lets others know of this one
  end
  LOOKS[#LOOKS + 1], LOOKS[#LOOKS + 2] = service, ''
  if joined then end_joiners(id) end
  local grants = {}
  if want ~= '0' and not FULL then WANTS[#WANTS + 1] = {token = next_token, lean = want == '2', grants = grants} end
  return {'ok', tostring(NOW), string.format('%d', REVISION), ver, grants}
end

local function failed(...) return type(redis.pcall(...)) == 'table' end

local answers = each(5, settle)
if FREED[1] then
  redis.call('DEL', unpack(LEASED))
  redis.call('ZREM', LEASES, unpack(FREED))
end
if WANTS[1] then grant_next() end
if DONE[1] and (failed('XACK', COMMANDS, GROUP, unpack(DONE)) or failed('XDEL', COMMANDS, unpack(DONE))) then
  for _, entry in ipairs(DONE) do -- a receipt that somebody wrote by hand names no entry: the others go all the same
    redis.pcall('XACK', COMMANDS, GROUP, entry)
    redis.pcall('XDEL', COMMANDS, entry)
  end
end
if LOOKS[1] then redis.pcall('XADD', RELOOK, 'MAXLEN', '~', '1000', '*', unpack(LOOKS)) end -- a hint; the period finds what it does not
return answers
