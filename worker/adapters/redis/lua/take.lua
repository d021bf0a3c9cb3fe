-- take: move everything forward that is due, read new entries into their lanes, give out lanes. One atomic step.
-- include: keys time head rfc3339 lease entry
-- KEYS  1 commands stream
-- ARGV  1 worker  2 instance  3 token (unique for this call)  4 free (lanes wanted)  5 state_only 0|1  6 count (entries to read)
--       7 lease ms  8 window ms  9 default time to live ms  10 max attempts
--       11 ms within which the worker must have beaten to be given a lane (0: whenever): this take has waited, and its worker may be frozen
-- Returns {now ms, epoch, revision, position (last entry read by the group), due ms (when the next deadline falls, 0 none),
--          more 0|1 (call again at once), grants}
-- Errors  NOGROUP, NOEPOCH, WRONGTYPE, OOM: nothing was written, but that a number of `seq` may be used up.
-- Invariant: reading an entry and placing it are one step, so the group's order is the lanes' order whoever reads.
local who = {worker = ARGV[1], instance = ARGV[2], token = ARGV[3], lease = tonumber(ARGV[7]), window = tonumber(ARGV[8]),
  max_attempts = tonumber(ARGV[10]), unsound = {}}
local free, state_only, count, ttl = tonumber(ARGV[4]), ARGV[5] == '1', tonumber(ARGV[6]), tonumber(ARGV[9])
local BATCH, WORK = 100, 5000

local wrong = require_types({READY, 'zset', UNREAD, 'zset', DEAD, 'stream'}) or open_events()
if wrong then return wrong end

-- When the first of a set is due, and whether it is now. LEASES, EXPIRIES and SCHEDULED are read, and so of their type.
local next_due = 0
local function sooner(at)
  if at > 0 and (next_due == 0 or at < next_due) then next_due = at end
end
local function look_ahead()
  next_due = 0
  for _, zset in ipairs({LEASES, EXPIRIES, SCHEDULED}) do
    local head = redis.call('ZRANGE', zset, '0', '0', 'WITHSCORES')
    sooner(head[2] and tonumber(head[2]) or 0)
  end
  return next_due > 0 and next_due <= NOW
end
local is_due = look_ahead()

local function position()
  local groups = redis.call('EXISTS', COMMANDS) == 1 and redis.call('XINFO', 'GROUPS', COMMANDS) or {}
  for _, group in ipairs(groups) do
    local map = to_map(group)
    if map.name == GROUP then return map['last-delivered-id'] end
  end
  return nil
end
-- Where nothing is written before it, the reading itself finds out whether the group is there.
local read
if is_due or count == 0 then
  read = position()
  if not read then return redis.error_reply('NOGROUP the group workers is not there') end
end

local number = redis.pcall('INCR', SEQ) -- so that nothing is taken when Redis is out of memory
if type(number) == 'table' then return redis.error_reply(string.match(number.err, 'OOM .*') or number.err) end

-- All that most calls need nothing of: defined when the first thing out of the ordinary turns up.
local rules
local function beyond_the_plain()
  if rules then return rules end
  -- include-here: json fields events parse receipts lanes intake grants
  rules = {accept_entry = accept_entry, grant_head = grant_head, grant_state_only = grant_state_only, is_sound = is_sound,
    receipt_of = receipt_of, count_up = count_up, bury_head = bury_head, expire = expire, queue_command = queue_command}
  return rules
end

local more = false
local since = tonumber(ARGV[11])
if since > 0 and tonumber(redis.call('ZSCORE', WORKERS, who.worker) or '0') <= NOW - since then
  free, more = 0, true
end

local function due(zset)
  local members = redis.call('ZRANGEBYSCORE', zset, '-inf', NOW, 'LIMIT', 0, BATCH)
  if #members == BATCH then more = true end
  return members
end

-- What cannot be ended because a key is of a wrong type is looked at again in a second; the others go on.
local function put_off(zset, member) redis.call('ZADD', zset, NOW + 1000, member) end

-- Lapsed leases, expired commands, and those whose time has come. Returns how many of the last there were.
local function move_forward(rule)
  for _, service in ipairs(due(LEASES)) do
    local lease = redis.pcall('HMGET', lease_key(service), 'id', 'rest')
    local receipt = rule.receipt_of(lease[1])
    if lease.err or not is_type(lane_key(service), 'zset') or (receipt and not rule.is_sound(receipt)) then
      put_off(LEASES, service)
    elseif receipt and receipt.status == 'running' then
      redis.call('HSET', lease_key(service), 'token', '')
      redis.call('ZREM', LEASES, service)
      make_ready(service)
    elseif receipt and receipt.status == 'queued' and not lease[2] then
      rule.count_up(receipt, 'losses')
      if tonumber(receipt.losses) >= who.max_attempts then
        rule.bury_head(receipt, who.max_attempts, who.window)
      else
        release_lane(service)
      end
    else
      release_lane(service)
    end
  end

  local work = 0
  for _, id in ipairs(due(EXPIRIES)) do
    if work > WORK then -- many joiners that go from hand to hand: Redis must not stand still for them
      more = true
      break
    end
    local receipt = rule.receipt_of(id)
    if receipt and (receipt.status == 'queued' or receipt.status == 'scheduled') then
      if rule.is_sound(receipt) then work = work + rule.expire(receipt, who.window) else put_off(EXPIRIES, id) end
    else
      redis.call('ZREM', EXPIRIES, id)
    end
  end

  local overdue = due(SCHEDULED)
  for _, member in ipairs(overdue) do
    local receipt = rule.receipt_of(string.match(member, '^[^:]*:(.*)$'))
    if not receipt or receipt.status ~= 'scheduled' then
      redis.call('ZREM', SCHEDULED, member)
    elseif rule.is_sound(receipt) then
      redis.call('ZREM', SCHEDULED, member)
      receipt.expires_ms = parse_ms(receipt.expires_at or '') or NOW
      rule.queue_command(receipt)
    else
      put_off(SCHEDULED, member)
    end
  end
  return #overdue
end

-- A command that was published, is queued and joins no other; says whether it was one, and keeps its receipt.
local plain = {}
local function accept_plain(entry, flat, turn)
  local id = named_id(flat)
  local receipt = id and redis.pcall('HGETALL', receipt_key(id)) or {}
  local known = receipt.err and {} or to_map(receipt)
  local service = known.service
  if known.entry ~= entry or known.status ~= 'queued' or not service then return false end
  if known.coalesce == '1' then return false end
  local expires = parse_ms(known.expires_at or '') or 0
  if expires <= NOW or redis.pcall('ZSCORE', lane_key(service), id) then return false end
  redis.call('ZREM', UNREAD, id)
  redis.call('ZADD', EXPIRIES, expires, id)
  sooner(expires)
  enter_lane(service, id, false, turn)
  plain[id] = receipt
  return true
end

local overdue = is_due and move_forward(beyond_the_plain()) or 0

-- What was due before it was read enters before it: with more than a batch of that, reading waits for the next call.
if count > 0 and overdue < BATCH then
  local reply = redis.pcall('XREADGROUP', 'GROUP', GROUP, who.worker, 'COUNT', count, 'STREAMS', COMMANDS, '>')
  if reply and reply.err then return redis.error_reply(reply.err) end
  local entries = reply and reply[1] and reply[1][2] or {}
  for i, entry in ipairs(entries) do
    local turn = i == 1 and not is_due and number -- whoever entered before this call drew a lower one
    if not accept_plain(entry[1], entry[2], turn) then beyond_the_plain().accept_entry(entry[1], entry[2], who.window, ttl) end
  end
  if #entries > 0 then read = entries[#entries][1] end
  if #entries == count then more = true end
end

-- Lanes, longest waiting first.
local grants, tried = {}, 0
if state_only and free > 0 then grants = beyond_the_plain().grant_state_only(free, who) end
while not state_only and #grants < free and tried < free + 100 do
  local wanted = free - #grants
  local heads = redis.call('ZPOPMIN', READY, wanted)
  for i = 1, #heads, 2 do
    -- The rules may have written to a receipt since it was read.
    grants[#grants + 1] = lease_plain_head(heads[i], who, not rules and plain) or beyond_the_plain().grant_head(heads[i], who)
  end
  tried = tried + #heads / 2
  if #heads == 0 or (#heads < 2 * wanted and not rules) then break end
end
keep_leases(who)
for _, service in ipairs(who.unsound) do make_ready(service) end

if rules then look_ahead() elseif #grants > 0 then sooner(NOW + who.lease) end
return {tostring(NOW), EPOCH, string.format('%d', REVISION), read or position(), string.format('%d', next_due), more and '1' or '0', grants}
