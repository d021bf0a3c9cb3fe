-- head: where the room's log stands. Needs keys.
local EPOCH, REVISION

-- Reads the log's head; must be called before the first write. Returns an error reply when no event may be written.
local function open_log()
  local head = redis.pcall('HMGET', META, 'epoch', 'revision')
  if head.err then return require_types({META, 'hash'}) end
  if not is_epoch(head[1]) or not is_revision(head[2]) then
    return redis.error_reply('NOEPOCH the room has no epoch yet')
  end
  EPOCH, REVISION = head[1], tonumber(head[2])
  return nil
end

-- The same, for scripts that write before they tell: finds out as well whether `changes` takes an event.
local function open_events()
  local wrong = open_log()
  if wrong then return wrong end
  local info = redis.pcall('XINFO', 'STREAM', CHANGES)
  if info.err then return require_types({CHANGES, 'stream'}) end -- none, where there is no stream yet
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' and tonumber(string.match(info[i + 1], '^%d+')) > REVISION then
      return redis.error_reply('NOEPOCH changes is ahead of meta')
    end
  end
  return nil
end
