--- Segment: events as they are to any Segment-compatible upstream, another tidegate too. README.md tells the contract.

local tidegate = require "tidegate"
local base64, deliver, raw, time = tidegate.base64, tidegate.deliver, tidegate.raw, tidegate.time

local segment = {
  name = "Segment",
  transparent = true, -- the next relay obeys the integrations object
  settings = {
    endpoint = { type = "url", required = true, help = "the upstream's /v1/batch address" },
    writeKey = { type = "string", required = true, secret = true,
      help = "write key of the upstream's source: Basic user name, the password is empty" },
    batchSize = { type = "integer", default = 100, min = 1, max = 2500, help = "events of one request" },
    batchWaitMs = { type = "integer", default = 500, min = 1, max = 60000,
      help = "how long an event may wait for others, in milliseconds" },
    gzip = { type = "boolean", default = true, help = "compress bodies" },
  },
  hosts = {}, -- the one of `endpoint`
  batches = {
    -- Segment takes 500 KB a request; the rest of it is room for the envelope.
    events = { max_items = "batchSize", max_bytes = 490000, max_wait_ms = "batchWaitMs" },
  },
}

local function post(event, settings)
  deliver {
    method = "POST",
    url = settings.endpoint,
    headers = {
      ["Authorization"] = "Basic " .. base64.encode(settings.writeKey .. ":"),
      ["Content-Type"] = "application/json",
    },
    gzip = settings.gzip,
    batch = "events",
    item = raw(event),
  }
end

function segment.batches.events.join(events)
  return { body = '{"batch":[' .. table.concat(events, ",") .. '],"sentAt":"' .. time.format(time.now()) .. '"}' }
end

segment.on = {
  track = post, identify = post, page = post, screen = post, group = post, alias = post, delete = post,
}

return segment
