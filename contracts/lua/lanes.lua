-- lanes: the order of one service's commands. Needs keys, time, receipts (and what those need).
-- include: lease joiners
-- lane:<service>   sorted set of command ids; the lowest score is the head, the only one that may run
-- lease:<service>  hash id, token, worker: who holds the head. It stays, with an empty token, while a begun head waits for a takeover
-- leases           sorted set service -> ms when its lease lapses (or its rest ends)
-- ready            sorted set service -> turn: lanes with a head that nobody holds, longest waiting first
-- scheduled        sorted set "<entry, padded>:<id>" -> ms when due
-- expiries         sorted set id -> ms when an unstarted command expires
-- joiners:<id>     list of the ids that a queued command took along, oldest first
-- Invariant: a lane is empty, or in `ready`, or in `leases`; never two of them.
local LANE_TYPES = {COMMANDS, 'stream', READY, 'zset', LEASES, 'zset', SCHEDULED, 'zset', EXPIRIES, 'zset', UNREAD, 'zset', SEQ, 'counter',
  WAKE, 'stream', DEAD, 'stream'}

-- Says whether the keys of a command and its lane are of their types. What gives out or ends many commands in one step goes
-- around one that is not; what is about one command refuses.
local function is_sound(receipt)
  return receipt.service and is_type(lane_key(receipt.service), 'zset') and is_type(lease_key(receipt.service), 'hash')
    and is_type(joiners_key(receipt.id), 'list')
    and (not receipt.coalesced_into or is_type(joiners_key(receipt.coalesced_into), 'list'))
end

local function wake() append(WAKE, '1', {'w', '1'}) end

-- Gives a lane back for anybody to take, its head not done. One that has begun keeps its evidence, and the take that follows
-- is not counted as an attempt. rest: ms until then, 0 for at once.
local function return_lane(service, id, rest)
  local receipt = receipt_of(id)
  local running = receipt and receipt.status == 'running'
  if running then
    count_up(receipt, 'handbacks')
  elseif receipt then
    redis.call('HDEL', receipt_key(id), 'losses')
  end
  if rest > 0 then
    redis.call('HSET', lease_key(service), 'token', '', 'rest', '1')
    redis.call('ZADD', LEASES, NOW + rest, service)
  elseif running then
    redis.call('HSET', lease_key(service), 'token', '')
    redis.call('ZREM', LEASES, service)
    make_ready(service)
  else
    release_lane(service)
  end
end

-- Takes a command out of its lane wherever it stands. A lease on it is void from now on.
local function leave_lane(service, id)
  redis.call('ZREM', lane_key(service), id)
  if redis.call('EXISTS', lane_key(service)) == 0 then redis.call('ZREM', READY, service) end
  if redis.call('HGET', lease_key(service), 'id') == id then release_lane(service) end
end

local function scheduled_member(receipt)
  local ms, n = string.match(receipt.entry or '', '^(%d+)%-(%d+)$')
  ms, n = ms or '0', n or '0'
  return string.rep('0', 20 - #ms) .. ms .. '-' .. string.rep('0', 20 - #n) .. n .. ':' .. receipt.id
end

-- A queued target that is cancelled or expires hands its place to the oldest joiner; the others follow. Returns how many did.
local function hand_place_on(target)
  local heir
  repeat
    heir = redis.call('LPOP', joiners_key(target.id))
    if not heir then return 0 end
    local receipt = receipt_of(heir)
  until receipt and receipt.status == 'queued' and receipt.coalesced_into == target.id
  local lane, score = lane_key(target.service), redis.call('ZSCORE', lane_key(target.service), target.id)
  redis.call('ZADD', lane, score, heir)
  redis.call('HDEL', receipt_key(heir), 'coalesced_into')
  local others = redis.call('LRANGE', joiners_key(target.id), '0', '-1')
  if #others > 0 then redis.call('RENAME', joiners_key(target.id), joiners_key(heir)) end
  for i = 1, #others do
    if redis.call('TYPE', receipt_key(others[i])).ok == 'hash' then redis.call('HSET', receipt_key(others[i]), 'coalesced_into', heir) end
  end
  return 1 + #others
end

-- Ends an unstarted command (scheduled, queued in its lane, or a joiner): expired or canceled, alone. Returns how many others
-- had to be written to.
local function end_unstarted(receipt, outcome, window)
  local others = 0
  if receipt.status == 'scheduled' then
    redis.call('ZREM', SCHEDULED, scheduled_member(receipt))
  elseif receipt.coalesced_into then
    redis.call('LREM', joiners_key(receipt.coalesced_into), 1, receipt.id)
  elseif redis.call('ZSCORE', lane_key(receipt.service), receipt.id) then
    others = hand_place_on(receipt)
    leave_lane(receipt.service, receipt.id)
  end
  redis.call('ZREM', EXPIRIES, receipt.id)
  redis.call('ZREM', UNREAD, receipt.id)
  drop_entry(receipt.entry)
  settle_receipt(receipt, outcome, window)
  return others
end

local EXPIRED = {status = 'expired', code = '410', error = 'expired', message = 'The command expired before it was begun'}
local CANCELED = {status = 'canceled', code = '410', error = 'canceled', message = 'The command was canceled before it was begun'}

local function expire(receipt, window)
  return end_unstarted(receipt, EXPIRED, window)
end

-- Milliseconds that a command was given to begin, from its entry or its not_before on.
local function life_of(receipt)
  local from = math.max(tonumber(string.match(receipt.entry or '', '^(%d+)')) or 0, receipt.not_before and parse_ms(receipt.not_before) or 0)
  return (parse_ms(receipt.expires_at or '') or 0) - from
end

-- `coalesce`: joins the lane's last command if that is still queued, asks the same and expires no earlier. One that was given the
-- same time to begin, as by default, is joined too, though it came and so expires a little earlier: were it to, its place is
-- handed on, so that the joiner loses nothing. Otherwise no two commands could be joined that say nothing of their expiry.
local function try_join(receipt)
  if receipt.coalesce ~= '1' then return false end
  local last = redis.call('ZREVRANGE', lane_key(receipt.service), 0, 0)[1]
  if not last or last == receipt.id then return false end
  local target = receipt_of(last)
  if not target or target.status ~= 'queued' or fingerprint(target) ~= fingerprint(receipt) then return false end
  if (parse_ms(target.expires_at or '') or 0) < receipt.expires_ms and life_of(target) ~= life_of(receipt) then return false end
  if not is_type(joiners_key(last), 'list') then return false end
  if redis.call('LLEN', joiners_key(last)) >= 1000 then return false end
  redis.call('RPUSH', joiners_key(last), receipt.id)
  receipt.coalesced_into = last
  redis.call('HSET', receipt_key(receipt.id), 'status', 'queued', 'coalesced_into', last)
  drop_entry(receipt.entry)
  return true
end

-- Puts a due command at the tail of its lane (or joins it). The receipt's hash must exist.
local function queue_command(receipt)
  redis.call('ZADD', EXPIRIES, string.format('%d', receipt.expires_ms), receipt.id)
  if try_join(receipt) then return end
  if receipt.status ~= 'queued' then redis.call('HSET', receipt_key(receipt.id), 'status', 'queued') end
  enter_lane(receipt.service, receipt.id)
end

-- Ends a begun (or too often lost) head as dead, with its dead letter; the lane goes on.
local function bury_head(receipt, max_attempts, window)
  local detail = 'given up after ' .. max_attempts .. ' attempts: each worker that took it was lost'
  local history = lengthen_history(receipt, 'attempts_exhausted', 'attempts_exhausted', detail)
  bury({entry = receipt.entry or '', id = receipt.id, kind = 'attempts_exhausted', error = 'attempts_exhausted', detail = detail,
    attempts = receipt.attempt, history = history}, receipt_fields(receipt))
  settle_receipt(receipt, {status = 'dead', code = '500', error = 'attempts_exhausted',
    message = 'Service \'' .. receipt.service .. '\': ' .. detail}, window)
  settle_joiners(receipt, receipt.id, window)
  redis.call('ZREM', EXPIRIES, receipt.id)
  redis.call('ZREM', UNREAD, receipt.id)
  drop_entry(receipt.entry)
  redis.call('ZREM', lane_key(receipt.service), receipt.id)
  release_lane(receipt.service)
end
