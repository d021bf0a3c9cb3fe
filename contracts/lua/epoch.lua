-- epoch: see worker's epoch.lua, which is this function. Needs keys, time.
local function ensure_epoch(random, seen_epoch, seen_revision, forced)
  local wrong = require_types({META, 'hash', CHANGES, 'stream', COMMANDS, 'stream'})
  if wrong then return wrong end
  local meta = redis.call('HMGET', META, 'epoch', 'revision', 'redis_run_id')
  local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
  local last, group = 0, false
  if redis.call('EXISTS', CHANGES) == 1 then
    last = tonumber(string.match(to_map(redis.call('XINFO', 'STREAM', CHANGES))['last-generated-id'], '^%d+'))
  end
  if redis.call('EXISTS', COMMANDS) == 1 then
    for _, item in ipairs(redis.call('XINFO', 'GROUPS', COMMANDS)) do
      if to_map(item).name == GROUP then group = true end
    end
  end
  local revision = tonumber(meta[2] or '') or 0
  local why
  if not meta[1] or not tonumber(meta[2] or '') then why = 'the room has no epoch'
  elseif not group then why = 'the group of the commands stream is gone'
  elseif meta[3] ~= run_id then why = 'Redis is another process than before'
  elseif seen_epoch == meta[1] and seen_revision > revision then why = 'Redis answered a lower revision than was seen'
  elseif last > revision then why = 'changes is ahead of meta'
  elseif forced then why = 'the engine was rebound' end
  if not why then return {meta[1], string.format('%d', revision), '0', ''} end
  local ms = math.max(NOW, (tonumber(string.match(meta[1] or '', '^(%d+)')) or 0) + 1)
  local epoch = string.format('%013d', ms) .. '-' .. random
  revision = math.max(revision, last)
  redis.call('HSET', META, 'contract', '1', 'epoch', epoch, 'revision', string.format('%d', revision), 'redis_run_id', run_id)
  if group then
    redis.call('XGROUP', 'SETID', COMMANDS, GROUP, '0')
  else
    redis.call('XGROUP', 'CREATE', COMMANDS, GROUP, '0', 'MKSTREAM')
  end
  return {epoch, string.format('%d', revision), '1', why}
end
