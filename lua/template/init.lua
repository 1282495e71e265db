--- @NAME@: one request for each track event. README.md tells the contract.

local tidegate = require "tidegate"
local deliver, map = tidegate.deliver, tidegate.map

-- What the partner calls a field, and where the event has it. The first path that holds something wins.
local EVENT = {
  { to = "id", from = "messageId", required = true }, -- the partner can tell a repeated event by it
  { to = "name", from = "event", required = true },
  { to = "email", from = { "properties.email", "context.traits.email" }, as = { "string", "trim", "lower" },
    required = "no_email" }, -- without it the event does not concern the partner: a skip
  { to = "occurred_at", from = "timestamp", as = "iso_time" },
}

local function track(event, settings)
  deliver {
    url = settings.endpoint,
    headers = { Authorization = "Bearer " .. settings.apiKey },
    json = map(event, EVENT),
    rate = "api",
  }
end

return {
  name = "@NAME@", -- in the events' `integrations` object
  settings = {
    apiKey = { type = "string", required = true, secret = true, help = "key of the partner's API" },
    endpoint = { type = "url", default = "https://api.example.com/v1/events", help = "where events are posted" },
  },
  rates = { api = { per_second = 10 } },
  on = { track = track },
}
