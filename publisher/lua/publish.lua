-- publish: check and add one command in one step; a publish repeated after a lost reply adds nothing.
-- include: keys time rfc3339 parse receipt post
-- KEYS  1 commands stream
-- ARGV  1 default time to live ms  2 limit of the stream's length (0 none)  3 worker wanted 0|1  4 alive ms  5.. field, value, ...
-- Returns {'ok'|'duplicate'|'conflict', receipt} | {'malformed', why} | {'full', length} | {'no_worker'}
-- Invariant: all checks come before the first write.
if ARGV[3] == '1' then
  local alive = alive_workers(tonumber(ARGV[4]))
  if alive == 0 then return {'no_worker'} end
  if type(alive) == 'table' then return alive end
end
local flat = {}
for i = 5, #ARGV do flat[#flat + 1] = ARGV[i] end
return post_command(flat, {ttl = tonumber(ARGV[1]), limit = tonumber(ARGV[2])})
