-- json: hashes as JSON with the contract's types. Values in hashes are text; FIELDS tables say what each becomes.
-- cjson orders keys by chance and writes [] as {}, so objects are written by hand and only odd strings go through it.
local function json_string(text)
  if string.find(text, '[%c"\\]') then
    return (string.gsub(cjson.encode(text), '\\/', '/'))
  end
  return '"' .. text .. '"'
end

local function json_list(items)
  local out = {}
  for i = 1, #items do out[i] = json_string(items[i]) end
  return '[' .. table.concat(out, ',') .. ']'
end

-- fields: {name, kind, name, kind, ...}; kind 's' string, 'i' integer, 'b' boolean. An absent field is null.
local function json_object(fields, map)
  local out, n = {}, 0
  for i = 1, #fields, 2 do
    local value, kind = map[fields[i]], fields[i + 1]
    n = n + 1
    if not value then
      out[n] = '"' .. fields[i] .. '":null'
    elseif kind == 's' then
      out[n] = '"' .. fields[i] .. '":' .. json_string(value)
    elseif kind == 'i' then
      out[n] = '"' .. fields[i] .. '":' .. ((value == '0' or string.find(value, '^%-?[1-9]%d*$')) and value or 'null')
    else
      out[n] = '"' .. fields[i] .. '":' .. (value == '1' and 'true' or 'false')
    end
  end
  return '{' .. table.concat(out, ',') .. '}'
end
