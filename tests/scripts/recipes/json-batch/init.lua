-- Batches of events as JSON; the answer tells which of them failed.
local tidegate = require "tidegate"
local deliver, json, map = tidegate.deliver, tidegate.json, tidegate.map

local EVENT = {
  { to = "id", from = "messageId", required = true },
  { to = "name", from = "event", required = true },
  { to = "properties", from = "properties" },
}

-- 207: { "errors": [ { "index": 0, "code": "…", "message": "…", "temporary": false } ] }; what is not named went well.
local function split(response, items)
  local answer, outcomes = json.try_decode(response.body), {}
  if response.status >= 400 then
    return nil -- the call failed as a whole: the batch is halved until the bad item is alone
  end
  for i = 1, #items do
    outcomes[i] = "ok"
  end
  local errors = type(answer) == "table" and type(answer.errors) == "table" and answer.errors or {}
  for _, failure in ipairs(errors) do
    local at = type(failure) == "table" and json.tonumber(failure.index)
    if at and outcomes[at + 1] then
      local outcome = failure.temporary == true and "retry" or "reject"
      outcomes[at + 1] = { outcome, failure.code or "refused", failure.message }
    end
  end
  return outcomes
end

local function join(items)
  return { json = { events = items } }
end

local function track(event, settings)
  deliver {
    url = settings.endpoint,
    headers = { Authorization = "Bearer " .. settings.apiKey },
    batch = "events", item = map(event, EVENT),
  }
end

return {
  name = "JSON batch",
  settings = {
    endpoint = { type = "url", required = true, help = "where batches are posted" },
    apiKey = { type = "string", required = true, secret = true, help = "bearer token" },
  },
  batches = { events = { max_items = 100, max_wait_ms = 1000, join = join, split = split } },
  on = { track = track },
}
