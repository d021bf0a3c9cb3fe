-- rfc3339: "2026-01-01T00:00:00.000Z" -> milliseconds; the way back is stamp.
local LAST_MS = 253402300799999 -- 9999-12-31T23:59:59.999Z
local MONTH_DAYS = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

-- Returns milliseconds, or nil when the text is not a real UTC time of the years 1970 to 9999.
local function parse_ms(text)
  local y, mo, d, h, mi, s, fraction = string.match(text, '^(%d%d%d%d)%-(%d%d)%-(%d%d)T(%d%d):(%d%d):(%d%d)(%.?%d*)Z$')
  if not y then return nil end
  if fraction ~= '' and not (string.sub(fraction, 1, 1) == '.' and #fraction >= 2 and #fraction <= 10) then return nil end
  y, mo, d, h, mi, s = tonumber(y), tonumber(mo), tonumber(d), tonumber(h), tonumber(mi), tonumber(s)
  if y < 1970 or mo < 1 or mo > 12 or d < 1 or h > 23 or mi > 59 or s > 59 then return nil end
  local leap = (y % 4 == 0 and y % 100 ~= 0) or y % 400 == 0
  if d > MONTH_DAYS[mo] + ((mo == 2 and leap) and 1 or 0) then return nil end
  local ms = fraction == '' and 0 or tonumber(string.sub(string.sub(fraction, 2) .. '00', 1, 3))
  local yy = mo <= 2 and y - 1 or y
  local era = math.floor(yy / 400)
  local yoe = yy - era * 400
  local doy = math.floor((153 * (mo > 2 and mo - 3 or mo + 9) + 2) / 5) + d - 1
  local doe = yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy
  return (era * 146097 + doe - 719468) * 86400000 + h * 3600000 + mi * 60000 + s * 1000 + ms
end
