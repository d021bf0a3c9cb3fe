-- heartbeat: tell readers the room's head, so that a silent channel is not taken for a quiet room.
-- include: keys time head stamp
-- KEYS  1 commands stream
-- ARGV  1 observer token
-- Returns {'ok'} | {'fenced'}
-- Invariant: takes no revision and stands on the channel only.
local wrong = require_types({OBSERVER, 'hash', META, 'hash'})
if wrong then return wrong end
local observer = redis.call('HMGET', OBSERVER, 'token', 'deadline')
if observer[1] ~= ARGV[1] or (tonumber(observer[2] or '') or 0) <= NOW then return {'fenced'} end
local meta = redis.call('HMGET', META, 'epoch', 'revision')
if not is_epoch(meta[1]) or not is_revision(meta[2]) then return redis.error_reply('NOEPOCH the room has no epoch yet') end
redis.call('PUBLISH', EVENTS, '{"specversion":"1.0","id":"' .. meta[1] .. '/' .. meta[2] .. '/hb/' .. string.format('%d', NOW)
  .. '","source":"/rooms/' .. string.match(BASE, '{(.*)}') .. '","type":"pointsman.room.heartbeat","time":"' .. STAMP
  .. '","epoch":"' .. meta[1] .. '","revision":"' .. meta[2] .. '","datacontenttype":"application/json","data":{}}')
return {'ok'}
