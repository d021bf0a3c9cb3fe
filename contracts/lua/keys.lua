-- keys: every key of the room, derived from KEYS[1], the commands stream ("<prefix>:{<room>}:commands").
-- One hash tag holds them in one cluster slot, so a script may touch all of them. Same names as contracts/keys.py.
local BASE = string.sub(KEYS[1], 1, -9)
local GROUP = 'workers'
local COMMANDS, CHANGES, DEAD, META = KEYS[1], BASE .. 'changes', BASE .. 'dead', BASE .. 'meta'
local EVENTS, SERVICES, WORKERS = BASE .. 'events', BASE .. 'services', BASE .. 'workers'
local READY, LEASES, SCHEDULED, EXPIRIES = BASE .. 'ready', BASE .. 'leases', BASE .. 'scheduled', BASE .. 'expiries'
local UNREAD, SEQ, LOOKS, OBSERVER, WAKE = BASE .. 'unread', BASE .. 'seq', BASE .. 'looks', BASE .. 'observer', BASE .. 'wake'
local REQUEUES, RELOOK = BASE .. 'requeues', BASE .. 'relook'
local function receipt_key(id) return BASE .. 'command:' .. id end
local function service_key(name) return BASE .. 'service:' .. name end
local function state_key(name) return BASE .. 'state:' .. name end
local function lane_key(name) return BASE .. 'lane:' .. name end
local function lease_key(name) return BASE .. 'lease:' .. name end
local function joiners_key(id) return BASE .. 'joiners:' .. id end
local function worker_key(name) return BASE .. 'worker:' .. name end

-- Checks before writes: Redis rolls nothing back, so a key of a wrong type must be found before the first write.
local function require_types(wanted)
  for i = 1, #wanted, 2 do
    local found = redis.call('TYPE', wanted[i]).ok
    if found ~= 'none' and found ~= wanted[i + 1] then
      return redis.error_reply('WRONGTYPE ' .. wanted[i] .. ' holds a ' .. found .. ', not a ' .. wanted[i + 1])
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
