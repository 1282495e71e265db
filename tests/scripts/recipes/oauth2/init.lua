-- OAuth2 client credentials: the token is fetched when there is none, kept, and fetched anew before it ends.
local tidegate = require "tidegate"
local deliver, oauth2 = tidegate.deliver, tidegate.oauth2

local function track(event, settings)
  local token = oauth2 {
    token_url = "https://login.example.com/oauth2/token",
    client_id = settings.clientId, client_secret = settings.clientSecret, scope = "events.write",
  }
  deliver {
    url = "https://api.example.com/v1/events",
    headers = { Authorization = "Bearer " .. token },
    json = { id = event.messageId, name = event.event },
  }
end

return {
  name = "OAuth2",
  settings = {
    clientId = { type = "string", required = true, help = "of the API client" },
    clientSecret = { type = "string", required = true, secret = true, help = "of the API client" },
  },
  hosts = { "login.example.com", "api.example.com" },
  on = { track = track },
}
