-- Pulse, the partner of the tutorial in lua/README.md: a batch API with OAuth2 and partial failures.

local tidegate = require "tidegate"
local deliver, json, map = tidegate.deliver, tidegate.json, tidegate.map

local EVENT = {
  { to = "unique_id", from = "messageId", required = true },
  { to = "metric", from = "event", required = true },
  { to = "time", from = "timestamp", as = "iso_time" },
  { to = "value", from = { "properties.revenue", "properties.total" }, as = "number" },
}
local PROFILE = {
  { to = "email", from = { "context.traits.email", "properties.email" }, as = { "trim", "lower" },
    required = "no_email" },
}

local function track(event, settings)
  local item = map(event, EVENT)
  item.profile = map(event, PROFILE)
  local token = tidegate.oauth2 {
    token_url = settings.baseUrl .. "/oauth/token",
    client_id = settings.clientId, client_secret = settings.clientSecret,
  }
  deliver {
    url = settings.baseUrl .. "/api/events/bulk",
    headers = { Authorization = "Bearer " .. token },
    batch = "events", item = item, rate = "api",
  }
end

local function join(items)
  return { json = { data = items } }
end

local function split(response, items)
  if response.status >= 400 then
    return nil
  end
  local outcomes = {}
  for i = 1, #items do
    outcomes[i] = "ok"
  end
  local answer = json.try_decode(response.body)
  for _, failure in ipairs(type(answer) == "table" and type(answer.errors) == "table" and answer.errors or {}) do
    local at = type(failure) == "table" and json.tonumber(failure.index)
    if at and outcomes[at + 1] then
      outcomes[at + 1] = { "reject", tostring(failure.code) }
    end
  end
  return outcomes
end

return {
  name = "Pulse",
  settings = {
    baseUrl = { type = "url", required = true, help = "of the API" },
    clientId = { type = "string", required = true, help = "OAuth2 client" },
    clientSecret = { type = "string", required = true, secret = true, help = "of the client" },
  },
  rates = { api = { per_second = 10 } },
  batches = { events = { max_items = 100, max_wait_ms = 200, join = join, split = split } },
  on = { track = track },
}
