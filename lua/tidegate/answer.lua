--- What partners answer, read without trust.

local tidegate = require "tidegate"

local answer = {}

-- The JSON object or array in a response's body; nil when it holds something else, or no JSON at all.
function answer.read(response)
  local value = tidegate.json.try_decode(response.body or "")
  return type(value) == "table" and value or nil
end

return answer
