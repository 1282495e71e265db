--- Webhook: events as they are to any address, one by one or as JSON arrays. README.md tells the contract.

local tidegate = require "tidegate"
local deliver, hmac, raw = tidegate.deliver, tidegate.hmac, tidegate.raw

local webhook = {
  name = "Webhook",
  settings = {
    url = { type = "url", required = true, help = "where events are posted" },
    batchSize = { type = "integer", default = 1, min = 1, max = 4000,
      help = "events of one request; 1: the body is the event, above: a JSON array of events" },
    batchWaitMs = { type = "integer", default = 500, min = 1, max = 60000,
      help = "how long an event may wait for others, in milliseconds" },
    headers = { type = "text-map", default = {}, help = "further request headers: name = value" },
    sharedSecret = { type = "string", default = "", secret = true,
      help = "signs each body: X-Signature is its HMAC-SHA1 in hex" },
    gzip = { type = "boolean", default = false, help = "compress bodies; the signature is that of the body before" },
  },
  hosts = {}, -- the one of `url`
  batches = {
    events = { max_items = "batchSize", max_bytes = 4 * 1024 * 1024, max_wait_ms = "batchWaitMs" },
  },
}

-- Set by the relay for each connection.
local RESERVED = {
  ["host"] = true, ["content-length"] = true, ["transfer-encoding"] = true, ["connection"] = true, ["expect"] = true,
  ["upgrade"] = true, ["accept-encoding"] = true, ["te"] = true, ["trailer"] = true, ["content-encoding"] = true,
}

function webhook.check(settings)
  local problems = {}
  for name, value in pairs(settings.headers) do
    if not name:find("^[%w!#$%%&'*+.^_`|~-]+$") then
      table.insert(problems, "headers: '" .. name .. "' is not a header name")
    elseif RESERVED[name:lower()] then
      table.insert(problems, "headers: " .. name .. " is set by the relay itself")
    elseif value:find("%c") then
      table.insert(problems, "headers: " .. name .. ": line breaks and other control characters are not allowed")
    end
  end
  table.sort(problems)
  return problems
end

local function headers_of(settings)
  local headers = { ["Content-Type"] = "application/json" }
  for name, value in pairs(settings.headers) do
    if name:lower() == "content-type" then
      headers["Content-Type"] = value
    else
      headers[name] = value
    end
  end
  return headers
end

local function post(event, settings)
  deliver {
    method = "POST",
    url = settings.url,
    headers = headers_of(settings),
    gzip = settings.gzip,
    batch = "events",
    item = raw(event),
  }
end

function webhook.batches.events.join(events, settings)
  local body = settings.batchSize == 1 and events[1] or "[" .. table.concat(events, ",") .. "]"
  local signature = settings.sharedSecret ~= "" and hmac("sha1", settings.sharedSecret, body) or nil
  return { body = body, headers = { ["X-Signature"] = signature } }
end

webhook.on = {
  track = post, identify = post, page = post, screen = post, group = post, alias = post, delete = post,
}

return webhook
