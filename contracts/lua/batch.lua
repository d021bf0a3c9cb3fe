-- batch: many commands in one call, each judged and written for itself. Needs keys, log.
-- ARGV  first.. for each command: how many arguments follow, and these
-- Invariant: what one is refused for touches no other. A refused one wrote nothing: all its checks come before its first write.

-- step: a function of one command's arguments; returns its answer, or an error reply. Returns the answers in the order asked, with
-- {'refused', why} for a command that a key of a wrong type, a lost epoch or a want of memory stands against.
local function each(first, step)
  BATCHED = true
  local answers, at = {}, first
  while at <= #ARGV do
    local last = at + tonumber(ARGV[at])
    local ok, answer = pcall(step, unpack(ARGV, at + 1, last))
    if not ok then answer = {err = type(answer) == 'table' and answer.err or tostring(answer)} end
    answers[#answers + 1] = answer.err and {'refused', answer.err} or answer
    at = last + 1
  end
  if TOLD then keep_revision() end
  return answers
end

-- The batch's number in the room's one order, taken when first asked for; an error reply where Redis gives none.
local TICKET
local function ticket()
  if not TICKET then
    local number = redis.pcall('INCR', SEQ)
    if type(number) == 'table' or number > 999999999999999 then
      return redis.error_reply(type(number) == 'table' and string.match(number.err, 'OOM .*') or 'WRONGTYPE ' .. SEQ .. ' holds no count')
    end
    TICKET = string.format('%d', number)
  end
  return TICKET
end
