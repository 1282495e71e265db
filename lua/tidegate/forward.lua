--- The contract of destinations that partners run for Segment ("direct destinations"): the event goes to one
-- address, whole and unmapped; the API key travels as Basic user name with an empty password, the partner's
-- other settings as one header. A script that offers `mode = "forward"` needs these settings:
--
--     mode      enum "direct" | "forward"
--     endpoint  url, the partner's address
--     apiKey    string, secret
--
-- The status of the reply decides as everywhere; 501, "this type is not supported", is final.

local tidegate = require "tidegate"
local base64, json = tidegate.base64, tidegate.json

local forward = {}

-- For `check`: a message when the settings do not suffice for forwarding, else nil.
function forward.check(settings)
  if (settings.endpoint or "") == "" then
    return "endpoint: required when mode is \"forward\""
  end
end

-- For handlers: delivers the event. `others` are the partner's settings beside the API key, by their names at
-- Segment; none may be given. `authorization` replaces Basic where a partner wants another scheme. Returns what
-- deliver returns.
function forward.event(event, settings, others, authorization)
  local headers = {
    ["Authorization"] = authorization or "Basic " .. base64.encode(settings.apiKey .. ":"),
    ["Accept"] = "*/*",
    ["Cache-Control"] = "no-cache",
    ["Content-Type"] = "application/json",
  }
  if others then
    headers["X-Segment-Settings"] = base64.encode(json.encode(others))
  end
  return tidegate.deliver {
    method = "POST",
    url = settings.endpoint,
    headers = headers,
    body = tidegate.raw(event),
  }
end

-- A handler for `on`: forwards the event when `mode` is "forward", else leaves it to direct(event, settings).
-- more(settings) returns what forward.event takes behind the settings; it may be left out.
function forward.by_mode(direct, more)
  return function(event, settings)
    if settings.mode ~= "forward" then
      direct(event, settings)
    elseif more then
      forward.event(event, settings, more(settings))
    else
      forward.event(event, settings)
    end
  end
end

return forward
