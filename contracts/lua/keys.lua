-- keys: every key of the room, derived from KEYS[1], the commands stream ("<prefix>:{<room>}:commands").
-- One hash tag holds them in one cluster slot, so a script may touch all of them. Same names as contracts/keys.py.
local BASE = string.sub(KEYS[1], 1, -9)
local GROUP = 'workers'
local COMMANDS = KEYS[1]
local CHANGES = BASE .. 'changes'
local DEAD = BASE .. 'dead'
local META = BASE .. 'meta'
local EVENTS = BASE .. 'events'
local SERVICES = BASE .. 'services'
local WORKERS = BASE .. 'workers'
local READY = BASE .. 'ready'
local LEASES = BASE .. 'leases'
local SCHEDULED = BASE .. 'scheduled'
local EXPIRIES = BASE .. 'expiries'
local UNREAD = BASE .. 'unread'
local SEQ = BASE .. 'seq'
local OBSERVER = BASE .. 'observer'
local WAKE = BASE .. 'wake'
local REQUEUES = BASE .. 'requeues'
local RELOOK = BASE .. 'relook'
local function receipt_key(id) return BASE .. 'command:' .. id end
local function service_key(name) return BASE .. 'service:' .. name end
local function state_key(name) return BASE .. 'state:' .. name end
local function lane_key(name) return BASE .. 'lane:' .. name end
local function lease_key(name) return BASE .. 'lease:' .. name end
local function joiners_key(id) return BASE .. 'joiners:' .. id end
local function worker_key(name) return BASE .. 'worker:' .. name end

local function is_type(key, kind)
  local found = redis.call('TYPE', key).ok
  return found == kind or found == 'none'
end

-- Checks before writes: Redis rolls nothing back, so a key of a wrong type must be found before the first write.
-- wanted: {key, type, ...}; the type `counter` is a string that INCR takes.
local function require_types(wanted)
  for i = 1, #wanted, 2 do
    local key, kind = wanted[i], wanted[i + 1]
    if kind == 'counter' then
      local value = redis.pcall('GET', key)
      if value and (type(value) == 'table' or not string.find(value, '^%d+$') or #value > 15) then
        return redis.error_reply('WRONGTYPE ' .. key .. ' holds no count')
      end
    else
      local found = redis.call('TYPE', key).ok
      if found ~= 'none' and found ~= kind then
        return redis.error_reply('WRONGTYPE ' .. key .. ' holds a ' .. found .. ', not a ' .. kind)
      end
    end
  end
  return nil
end

local function to_map(flat)
  local map = {}
  for i = 1, #flat, 2 do map[flat[i]] = flat[i + 1] end
  return map
end

local function read_hash(key)
  local flat = redis.call('HGETALL', key)
  if #flat == 0 then return nil end
  return to_map(flat)
end

-- What `meta` must hold for events to be numbered; whole numbers are exact below 2^53 here.
local function is_epoch(text) return text and string.find(text, '^%d+%-%x+$') ~= nil end
local function is_revision(text) return text and #text <= 15 and string.find(text, '^%d+$') ~= nil end
