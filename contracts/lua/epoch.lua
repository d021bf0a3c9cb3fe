-- epoch: see worker's epoch.lua, which is this function. Needs keys, time.
local function ensure_epoch(random, seen_epoch, seen_revision, forced)
  local wrong = require_types({META, 'hash', CHANGES, 'stream', COMMANDS, 'stream'})
  if wrong then return wrong end
  local meta = redis.call('HMGET', META, 'epoch', 'revision', 'redis_run_id')
  local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
  local last, group, full = 0, false, false
  if redis.call('EXISTS', CHANGES) == 1 then
    local id = string.match(to_map(redis.call('XINFO', 'STREAM', CHANGES))['last-generated-id'], '^%d+')
    full = not is_revision(id)
    last = full and 0 or tonumber(id)
  end
  if redis.call('EXISTS', COMMANDS) == 1 then
    for _, item in ipairs(redis.call('XINFO', 'GROUPS', COMMANDS)) do
      if to_map(item).name == GROUP then group = true end
    end
  end
  local revision = is_revision(meta[2]) and tonumber(meta[2]) or 0
  local why
  if not is_epoch(meta[1]) or not is_revision(meta[2]) then why = 'the room has no epoch'
  elseif not group then why = 'the group of the commands stream is gone'
  elseif meta[3] ~= run_id then why = 'Redis is another process than before'
  elseif seen_epoch == meta[1] and seen_revision > revision then why = 'Redis answered a lower revision than was seen'
  elseif last > revision or full then why = 'changes is ahead of meta'
  elseif forced then why = 'the engine was rebound' end
  if not why then return {meta[1], string.format('%d', revision), '0', ''} end
  local ms = NOW
  for _, before in ipairs({meta[1] or '', seen_epoch}) do
    if is_epoch(before) then ms = math.max(ms, tonumber(string.match(before, '^%d+')) + 1) end
  end
  local epoch = string.format('%013d', ms) .. '-' .. random
  revision = math.max(revision, last)
  redis.call('HSET', META, 'contract', '1', 'epoch', epoch, 'revision', string.format('%d', revision), 'redis_run_id', run_id)
  if full then redis.call('DEL', CHANGES) end -- somebody used up its ids: nothing can be appended any more
  if group then
    redis.call('XGROUP', 'SETID', COMMANDS, GROUP, '0')
  else
    redis.call('XGROUP', 'CREATE', COMMANDS, GROUP, '0', 'MKSTREAM')
  end
  return {epoch, string.format('%d', revision), '1', why}
end
