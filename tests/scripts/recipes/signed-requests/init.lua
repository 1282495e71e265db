-- The body is signed together with the time: what is signed must be the very bytes that are sent.
local tidegate = require "tidegate"
local deliver, hmac, json, time = tidegate.deliver, tidegate.hmac, tidegate.json, tidegate.time

local function track(event, settings)
  local body = json.encode { id = event.messageId, name = event.event, properties = event.properties }
  local at = tostring(math.floor(time.now() / 1000))
  deliver {
    url = settings.endpoint,
    headers = {
      ["Content-Type"] = "application/json",
      ["X-Timestamp"] = at,
      ["X-Signature"] = "v1=" .. hmac("sha256", settings.secret, at .. "." .. body),
    },
    body = body,
  }
end

return {
  name = "Signed requests",
  settings = {
    endpoint = { type = "url", required = true, help = "where events are posted" },
    secret = { type = "string", required = true, secret = true, help = "key of the signature" },
  },
  on = { track = track },
}
