-- drop: delete dead letters and the count of their requeues.
-- include: keys time
-- KEYS  1 commands stream
-- ARGV  1.. dead entry ids
-- Returns how many were there.
local wrong = require_types({DEAD, 'stream', REQUEUES, 'hash'})
if wrong then return wrong end
for i = 1, #ARGV do
  local found = redis.pcall('XRANGE', DEAD, ARGV[i], ARGV[i])
  if found.err then return found end -- no id of a stream
end
local count = 0
for i = 1, #ARGV do
  count = count + redis.call('XDEL', DEAD, ARGV[i])
  redis.call('HDEL', REQUEUES, ARGV[i])
end
return count
