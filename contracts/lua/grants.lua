-- grants: give ready lanes' heads to a worker, each under a lease. Needs lanes (and what those need).

local function set_in(flat, field, value)
  for i = 1, #flat, 2 do
    if flat[i] == field then
      flat[i + 1] = value
      return
    end
  end
  flat[#flat + 1], flat[#flat + 2] = field, value
end

-- Answers {service, id, token, takeover 0|1, receipt, snapshot, ver, memo}, or nil when the head is gone or was buried. A lane
-- with a key of a wrong type is put into who.unsound.
local function grant_head(service, who)
  local function unsound() who.unsound[#who.unsound + 1] = service end
  local heads = redis.pcall('ZRANGE', lane_key(service), '0', '0')
  if heads.err then return unsound() end
  local id = heads[1]
  if not id then return nil end
  local flat = redis.pcall('HGETALL', receipt_key(id))
  local receipt = flat.err and {} or to_map(flat)
  local takeover = receipt.status == 'running'
  if (receipt.status ~= 'queued' and not takeover) or receipt.service ~= service then
    if not is_type(lease_key(service), 'hash') then return unsound() end
    leave_lane(service, id)
    if redis.call('EXISTS', lane_key(service)) == 1 then make_ready(service) end
    return nil
  end
  if not takeover then return lease_head(service, id, flat, '0', who) or unsound() end
  receipt.id = id
  local attempt = (tonumber(receipt.attempt) or 0) + 1
  if attempt - (tonumber(receipt.handbacks) or 0) > who.max_attempts then
    if not is_sound(receipt) then return unsound() end
    bury_head(receipt, who.max_attempts, who.window)
    return nil
  end
  local grant = lease_head(service, id, flat, '1', who)
  if not grant then return unsound() end
  attempt = string.format('%d', attempt)
  redis.call('HSET', receipt_key(id), 'attempt', attempt, 'worker', who.worker)
  set_in(flat, 'attempt', attempt)
  set_in(flat, 'worker', who.worker)
  return grant
end

-- Gives up to `free` lanes away whose heads need no engine, wherever they wait; one that was begun by a worker that is gone needs
-- none either once its deadline has come: it is to be ended.
local function grant_state_only(free, who)
  local granted = {}
  for _, service in ipairs(redis.call('ZRANGE', READY, 0, -1)) do
    if #granted >= free then break end
    if is_type(lane_key(service), 'zset') then
      local receipt = receipt_of(lane_head(service))
      if not receipt or receipt.action == 'enable' or receipt.action == 'disable'
        or (receipt.status == 'running' and (parse_ms(receipt.expires_at or '') or 0) <= NOW) then
        redis.call('ZREM', READY, service)
        granted[#granted + 1] = grant_head(service, who)
      end
    end
  end
  return granted
end
