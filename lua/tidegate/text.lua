--- Lengths in characters of UTF-8, as partners state them. A byte that begins no character belongs to the one
-- before it.

local text = {}

local function begins_character(s, at)
  local byte = s:byte(at)
  return byte < 0x80 or byte >= 0xC0
end

-- The first n characters.
function text.first(s, n)
  if #s <= n then
    return s
  end
  local seen = 0
  for at = 1, #s do
    if begins_character(s, at) then
      seen = seen + 1
      if seen > n then
        return s:sub(1, at - 1)
      end
    end
  end
  return s
end

-- The last n characters.
function text.last(s, n)
  if #s <= n then
    return s
  end
  local seen = 0
  for at = #s, 1, -1 do
    if begins_character(s, at) then
      seen = seen + 1
      if seen == n then
        return s:sub(at)
      end
    end
  end
  return s
end

-- Whether s has more than n characters.
function text.longer(s, n)
  return #s > n and #text.first(s, n) < #s
end

return text
