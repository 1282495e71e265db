--- Tables of fields.

local tables = {}

-- Writes all members of `from` into `into`, over what is there. Returns `into`.
function tables.merge(into, from)
  for key, value in pairs(from) do
    into[key] = value
  end
  return into
end

return tables
