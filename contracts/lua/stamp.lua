-- stamp: the present as "2026-01-01T00:00:00.000Z". Needs time.
local MINUTES = {} -- "2026-01-01T00:00:" by minute: a script writes the same one again and again
local function minute_of(ms)
  local days = math.floor(ms / 86400000)
  local rest = ms - days * 86400000
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  return string.format('%04d-%02d-%02dT%02d:%02d:', yoe + era * 400 + (month <= 2 and 1 or 0), month,
    doy - math.floor((153 * mp + 2) / 5) + 1, math.floor(rest / 3600000), math.floor(rest / 60000) % 60)
end

local function format_ms(ms)
  local minute = math.floor(ms / 60000)
  local head = MINUTES[minute]
  if not head then
    head = minute_of(ms)
    MINUTES[minute] = head
  end
  return string.format('%s%02d.%03dZ', head, math.floor(ms / 1000) % 60, ms % 1000)
end

local STAMP = format_ms(NOW)
