-- Search a contact, then change or create it: each call is built from the answer before it.
local tidegate = require "tidegate"
local deliver, first, json = tidegate.deliver, tidegate.first, tidegate.json
local reject, skip = tidegate.reject, tidegate.skip

local API = "https://api.example.com/contacts"

local function identify(event, settings)
  local email = first(event, { "traits.email", "context.traits.email" })
  if type(email) ~= "string" then
    skip "no_email"
  end
  local headers = { Authorization = "Bearer " .. settings.apiKey }
  local search = { url = API, query = { email = email }, headers = headers, repeatable = true, key = email }
  local found = json.try_decode(deliver(search):wait().body)
  if type(found) ~= "table" then
    reject "unreadable_answer"
  end
  local contact = found[1]
  if type(contact) == "table" and contact.id then
    deliver { method = "PATCH", url = API .. "/" .. tidegate.url.encode(tostring(contact.id)), headers = headers,
      json = event.traits, key = email }
  else
    deliver { url = API, headers = headers, json = { email = email, traits = event.traits }, key = email }
  end
end

return {
  name = "Chained calls",
  settings = { apiKey = { type = "string", required = true, secret = true, help = "bearer token" } },
  hosts = { "api.example.com" },
  on = { identify = identify },
}
