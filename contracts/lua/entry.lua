-- entry: what an entry says before it is parsed.

-- The id that an entry names, whatever else it holds.
local function named_id(flat)
  for i = 1, #flat, 2 do
    if flat[i] == 'id' then return flat[i + 1] end
  end
  return nil
end
