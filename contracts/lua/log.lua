-- log: the room's numbered events. Needs keys, time.
-- include: head stamp
-- Invariant: within an epoch every event has the revision after the one before it, stands in `changes` under that id
-- and went out on the channel, in this order, from the script that caused it.
local TOLD, BATCHED = false, false -- BATCHED: the script keeps the revision itself, once, at its end

-- The revision that the next event will have, as text.
local function next_revision() return string.format('%d', REVISION + 1) end

local function keep_revision() redis.call('HSET', META, 'revision', string.format('%d', REVISION)) end

-- kind: after "pointsman."; subject: JSON; data: JSON, in three parts where the middle one is long. The first event of a script
-- finds out whether `changes` takes it; where it does not, its error is returned and nothing was written.
local function emit(kind, subject, data, middle, rest)
  local text = next_revision()
  local event = '{"specversion":"1.0","id":"' .. EPOCH .. '/' .. text .. '","source":"/rooms/' .. string.match(BASE, '{(.*)}')
    .. '","type":"pointsman.' .. kind .. '","subject":' .. subject .. ',"time":"' .. STAMP .. '","epoch":"' .. EPOCH
    .. '","revision":"' .. text .. '","datacontenttype":"application/json","data":' .. data .. (middle or '') .. (rest or '') .. '}'
  local added = redis.pcall('XADD', CHANGES, 'MAXLEN', '~', '100000', text .. '-0', 'event', event)
  if type(added) == 'table' and added.err then
    if TOLD then error(added.err) end
    if string.find(added.err, 'equal or smaller') or string.find(added.err, 'exhausted') then return redis.error_reply('NOEPOCH changes is ahead of meta') end
    return redis.error_reply(string.match(added.err, 'OOM .*') or added.err)
  end
  TOLD = true
  REVISION = REVISION + 1
  if not BATCHED then keep_revision() end
  redis.call('PUBLISH', EVENTS, event)
  return nil
end
