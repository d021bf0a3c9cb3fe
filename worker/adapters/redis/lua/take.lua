-- take: move everything forward that is due, read new entries into their lanes, give out lanes. One atomic step.
-- include: keys time rfc3339 json fields events parse receipts lanes intake grants
-- KEYS  1 commands stream
-- ARGV  1 worker  2 instance  3 token (unique for this call)  4 free (lanes wanted)  5 state_only 0|1  6 count (entries to read)
--       7 lease ms  8 window ms  9 default time to live ms  10 max attempts
-- Returns {now ms, epoch, revision, position (last entry read by the group), due ms (when the next deadline falls, 0 none),
--          more 0|1 (call again at once), grants}
-- Errors  NOGROUP, NOEPOCH, WRONGTYPE, OOM: nothing was written.
-- Invariant: reading an entry and placing it are one step, so the group's order is the lanes' order whoever reads.
local who = {worker = ARGV[1], instance = ARGV[2], token = ARGV[3], lease = tonumber(ARGV[7]), window = tonumber(ARGV[8]),
  max_attempts = tonumber(ARGV[10])}
local free, count, ttl = tonumber(ARGV[4]), tonumber(ARGV[6]), tonumber(ARGV[9])
local BATCH, WORK = 100, 5000

local wrong = require_types(LANE_TYPES) or open_events()
if wrong then return wrong end

local function position()
  local groups = redis.call('EXISTS', COMMANDS) == 1 and redis.call('XINFO', 'GROUPS', COMMANDS) or {}
  for _, group in ipairs(groups) do
    local map = to_map(group)
    if map.name == GROUP then return map['last-delivered-id'] end
  end
  return nil
end
local read = position()
if not read then return redis.error_reply('NOGROUP the group workers is not there') end

local refused = redis.pcall('INCR', SEQ) -- so that nothing is taken when Redis is out of memory
if type(refused) == 'table' then return redis.error_reply(string.match(refused.err, 'OOM .*') or refused.err) end

local more = false
local function due(zset)
  local members = redis.call('ZRANGEBYSCORE', zset, '-inf', NOW, 'LIMIT', 0, BATCH)
  if #members == BATCH then more = true end
  return members
end

-- What cannot be ended because a key is of a wrong type is looked at again in a second; the others go on.
local function put_off(zset, member) redis.call('ZADD', zset, NOW + 1000, member) end

for _, service in ipairs(due(LEASES)) do
  local lease = redis.pcall('HMGET', lease_key(service), 'id', 'rest')
  local receipt = receipt_of(lease[1])
  if lease.err or not is_type(lane_key(service), 'zset') or (receipt and not is_sound(receipt)) then
    put_off(LEASES, service)
  elseif receipt and receipt.status == 'running' then
    redis.call('HSET', lease_key(service), 'token', '')
    redis.call('ZREM', LEASES, service)
    make_ready(service)
  elseif receipt and receipt.status == 'queued' and not lease[2] then
    count_up(receipt, 'losses')
    if tonumber(receipt.losses) >= who.max_attempts then
      bury_head(receipt, who.max_attempts, who.window)
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
  local receipt = receipt_of(id)
  if receipt and (receipt.status == 'queued' or receipt.status == 'scheduled') then
    if is_sound(receipt) then work = work + expire(receipt, who.window) else put_off(EXPIRIES, id) end
  else
    redis.call('ZREM', EXPIRIES, id)
  end
end

local overdue = due(SCHEDULED)
for _, member in ipairs(overdue) do
  local receipt = receipt_of(string.match(member, '^[^:]*:(.*)$'))
  if not receipt or receipt.status ~= 'scheduled' then
    redis.call('ZREM', SCHEDULED, member)
  elseif is_sound(receipt) then
    redis.call('ZREM', SCHEDULED, member)
    receipt.expires_ms = parse_ms(receipt.expires_at or '') or NOW
    queue_command(receipt)
  else
    put_off(SCHEDULED, member)
  end
end

-- What was due before it was read enters before it: with more than a batch of that, reading waits for the next call.
if count > 0 and #overdue < BATCH then
  local reply = redis.call('XREADGROUP', 'GROUP', GROUP, who.worker, 'COUNT', count, 'STREAMS', COMMANDS, '>')
  local entries = reply and reply[1] and reply[1][2] or {}
  for _, entry in ipairs(entries) do
    accept_entry(entry[1], entry[2], who.window, ttl)
  end
  if #entries > 0 then read = entries[#entries][1] end
  if #entries == count then more = true end
end

local grants = free > 0 and grant_ready(free, who, ARGV[5] == '1') or {}

local next_due = 0
for _, zset in ipairs({LEASES, EXPIRIES, SCHEDULED}) do
  local head = redis.call('ZRANGE', zset, 0, 0, 'WITHSCORES')
  local at = head[2] and tonumber(head[2]) or 0
  if at > 0 and (next_due == 0 or at < next_due) then next_due = at end
end

return {tostring(NOW), EPOCH, string.format('%d', REVISION), read, string.format('%d', next_due), more and '1' or '0', grants}
