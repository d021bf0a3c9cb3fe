-- grants: give ready lanes' heads to a worker, each under a lease. Needs lanes (and what those need).

-- Answers {service, id, token, takeover 0|1, receipt, snapshot, ver, memo}, or nil when the head is gone or was buried. A lane
-- with a key of a wrong type is put into who.unsound.
local function grant_head(service, who)
  if require_types({lane_key(service), 'zset', lease_key(service), 'hash', service_key(service), 'hash', state_key(service), 'hash'}) then
    who.unsound[#who.unsound + 1] = service
    return nil
  end
  local id = lane_head(service)
  if not id then return nil end
  local receipt = receipt_of(id)
  if not receipt or (receipt.status ~= 'queued' and receipt.status ~= 'running') or receipt.service ~= service then
    leave_lane(service, id)
    if redis.call('EXISTS', lane_key(service)) == 1 then make_ready(service) end
    return nil
  end
  local takeover = receipt.status == 'running'
  if takeover then
    local attempt = (tonumber(receipt.attempt) or 0) + 1
    if attempt - (tonumber(receipt.handbacks) or 0) > who.max_attempts then
      if not is_sound(receipt) then
        who.unsound[#who.unsound + 1] = service
        return nil
      end
      bury_head(receipt, who.max_attempts, who.window)
      return nil
    end
    redis.call('HSET', receipt_key(id), 'attempt', attempt, 'worker', who.worker)
  end
  return lease_head(service, id, redis.call('HGETALL', receipt_key(id)), takeover and '1' or '0', who)
end

-- Gives up to `free` lanes away, longest waiting first. state_only: only heads that need no engine, wherever they wait.
local function grant_ready(free, who, state_only)
  local granted, tried = {}, 0
  who.unsound = {}
  if state_only then
    for _, service in ipairs(redis.call('ZRANGE', READY, 0, -1)) do
      if #granted >= free then break end
      if is_type(lane_key(service), 'zset') then
        local receipt = receipt_of(lane_head(service))
        if not receipt or receipt.action == 'enable' or receipt.action == 'disable' then
          redis.call('ZREM', READY, service)
          granted[#granted + 1] = grant_head(service, who)
        end
      end
    end
  end
  while not state_only and #granted < free and tried < free + 100 do
    local service = redis.call('ZPOPMIN', READY)[1]
    if not service then break end
    tried = tried + 1
    granted[#granted + 1] = grant_head(service, who)
  end
  for _, service in ipairs(who.unsound) do make_ready(service) end
  return granted
end
