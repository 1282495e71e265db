-- Extole: identify and track events become events of a person, delete erases the person. The contract is told
-- in README.md.

local tidegate = require "tidegate"
local address = require "tidegate.address"
local answer = require "tidegate.answer"
local forward = require "tidegate.forward"

local deliver, skip, reject = tidegate.deliver, tidegate.skip, tidegate.reject
local map, json, url = tidegate.map, tidegate.json, tidegate.url

local API = "https://api.extole.io"

local settings_schema = {
  apiKey = { type = "string", required = true, secret = true,
    help = "long-lived access token of Extole, best one that may only submit events (deletion may need more)" },

  mode = { type = "enum", values = { "direct", "forward" }, default = "direct",
    help = "direct: events and erasure API. forward: the whole event to endpoint" },
  endpoint = { type = "url", help = "forward: the partner's address" },
  forwardAuth = { type = "enum", values = { "basic", "bearer" }, default = "basic",
    help = "forward: how the token travels; bearer for an event URL with a prehandler" },
  baseUrl = { type = "url", default = "https://api.extole.io",
    help = "direct: replaces scheme, host and port of the API (https://events.extole.io is another)" },

  asyncEvents = { type = "boolean", default = true,
    help = "submit to async-events, which has no request limit; false: wait for the person" },
  eventMapping = { type = "text-map", default = {},
    help = "event name = Extole's event name, e.g. Order Completed = conversion. Others keep their names" },
  labels = { type = "string", default = "", help = "program label, sent as data.labels" },
  publicParameters = { type = "enum", values = { "event", "profile" }, default = "event",
    help = "other traits: event: in the identify event. profile: also one call each, as public profile parameter" },
}

-- --- fields: Extole's name, and where it comes from ----------------------------------------------------------

local time_row = { to = "event_time", from = "timestamp", as = "iso_time" }

local profile_rows = {
  { to = "partner_user_id", from = { "userId", "traits.partner_user_id" } },
  { to = "email", from = { "traits.email", "context.traits.email" }, as = "trim" },
  { to = "first_name", from = { "traits.firstName", "traits.first_name" }, as = "string" },
  { to = "last_name", from = { "traits.lastName", "traits.last_name" }, as = "string" },
}

-- Traits that profile_rows have used up.
local profile_traits = {
  partner_user_id = true, email = true,
  firstName = true, first_name = true, lastName = true, last_name = true,
}

-- What a track event gets when its properties do not have it.
local person_rows = {
  { to = "partner_user_id", from = "userId" },
  { to = "email", from = "context.traits.email", as = "trim" },
  { to = "first_name", from = { "context.traits.firstName", "context.traits.first_name" }, as = "string" },
  { to = "last_name", from = { "context.traits.lastName", "context.traits.last_name" }, as = "string" },
}

local conversion_rows = {
  { to = "partner_conversion_id", from = { "properties.order_id", "properties.orderId" } },
  { to = "cart_value", from = { "properties.total", "properties.revenue" } },
}

local name_rows = {
  { to = "event", from = "event", as = "string", required = true },
}

local erasure_rows = {
  { to = "partner_user_id", from = "userId" },
  { to = "email", from = "email", as = "trim" },
  { to = "note", from = "messageId" },
}

-- --- calls ---------------------------------------------------------------------------------------------------

local function call(settings, method, path, body, rate)
  return deliver {
    method = method,
    url = address.rebase(API, settings.baseUrl) .. path,
    headers = { ["Authorization"] = "Bearer " .. settings.apiKey },
    json = body,
    rate = rate,
  }
end

local function submit(event, settings, name, data, synchronous)
  if settings.labels ~= "" then
    data.labels = settings.labels
  end
  local body = {
    event_name = name,
    event_time = map(event, { time_row }).event_time,
    data = data,
  }
  if synchronous then
    return call(settings, "POST", "/v6/events", body, "requests")
  end
  return call(settings, "POST", "/v6/async-events", body)
end

local function fill(data, values)
  for key, value in pairs(values) do
    if data[key] == nil then
      data[key] = value
    end
  end
end

-- --- identify ------------------------------------------------------------------------------------------------

local function other_traits(event)
  local others = {}
  for name, value in pairs(event.traits) do
    if not profile_traits[name] then
      others[name] = value
    end
  end
  return others
end

local function sorted_names(values)
  local names = {}
  for name in pairs(values) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

-- Extole's code of a failure, and what it says in words.
local function error_code(response)
  local told = answer.read(response) or {}
  local code = type(told.code) == "string" and told.code:sub(1, 100):match("^[%w_]+$") or nil
  return code, told.message
end

-- The digits of the person's id: a number of 64 bits, or text.
local function person_in(response)
  local id = (answer.read(response) or {}).person_id or ""
  return (type(id) == "string" and id or json.encode(id)):match("^%d+$")
end

-- Makes each value a public parameter of the profile: created, or changed when it is there.
local function publish(settings, person_id, values)
  local path = "/v5/persons/" .. url.encode(person_id) .. "/data"
  for _, name in ipairs(sorted_names(values)) do
    local body = { name = name, value = values[name], scope = "PUBLIC" }
    local created = call(settings, "POST", path, body, "requests"):wait()
    if error_code(created) == "data_already_exists" then
      call(settings, "PUT", path .. "/" .. url.encode(name), body, "requests"):wait()
    end
  end
end

local function identify_person(event, settings)
  local data, others = map(event, profile_rows), other_traits(event)
  if not data.partner_user_id and not data.email then
    skip("no_identity")
  end
  fill(data, others)
  if settings.publicParameters == "event" or next(others) == nil then
    submit(event, settings, "identify", data, not settings.asyncEvents)
    return
  end
  local person_id = person_in(submit(event, settings, "identify", data, true):wait())
  if not person_id then
    reject("no_person_id", "Extole's answer to the event names no person")
  end
  publish(settings, person_id, others)
end

-- --- track ---------------------------------------------------------------------------------------------------

local function track_event(event, settings)
  local name = map(event, name_rows).event
  name = settings.eventMapping[name] or name
  local data = {}
  fill(data, event.properties)
  fill(data, map(event, person_rows))
  if name == "conversion" then
    fill(data, map(event, conversion_rows))
  end
  submit(event, settings, name, data, not settings.asyncEvents)
end

-- --- delete --------------------------------------------------------------------------------------------------

-- The relay takes no delete event without a userId.
local function erase_person(event, settings)
  call(settings, "POST", "/v4/erasures", map(event, erasure_rows), "requests")
end

-- --- the contract --------------------------------------------------------------------------------------------

-- Forward mode: nothing beside the event, the token as Basic user name or as bearer.
local function token(settings)
  return nil, settings.forwardAuth == "bearer" and "Bearer " .. settings.apiKey or nil
end

local function check(settings)
  if settings.apiKey:find("[%s%c]") then
    return "apiKey: holds a blank or a control character"
  end
  for name, renamed in pairs(settings.eventMapping) do
    if renamed == "" then
      return "eventMapping: \"" .. name .. "\" needs the name that Extole is to get"
    end
  end
  if settings.mode == "forward" then
    return forward.check(settings)
  end
end

local function judge_event(response)
  if response.status == 204 then
    return "reject", "not_the_events_api", "another service answered: check baseUrl"
  end
end

local function judge_erasure(response)
  local code, words = error_code(response)
  if response.status == 404 or code == "person_not_found" then
    return "ok", "nobody_to_erase"
  end
  if response.status == 403 and code == "scopes_denied" then
    return "reject", "scopes_denied", words
  end
end

local judges = {
  ["/v6/events"] = judge_event,
  ["/v6/async-events"] = judge_event,
  ["/v4/erasures"] = judge_erasure,
}

-- A host of Extole's that is made for browsers always answers 200 and has the failure in a header. What is wrong
-- with a 400 is told by a code. All else is the status's.
local function judge(response, request, settings)
  if settings.mode == "forward" then
    return
  end
  local told = response.headers["x-extole-error-message"]
  if response.status < 300 and told then
    return "reject", "extole_error", told
  end
  local own = judges[url.parse(request.url).path]
  if own then
    local outcome, reason, message = own(response)
    if outcome then
      return outcome, reason, message
    end
  end
  if response.status == 400 then
    local code, words = error_code(response)
    return code == "data_already_exists" and "ok" or "reject", code, words
  end
end

return {
  name = "Extole Platform",
  settings = settings_schema,
  hosts = { "api.extole.io" },
  -- Extole takes 100 a minute, and 10 a second of one person: nine at once and then one and a half a second are
  -- within both, wherever its minute begins. Events that are submitted to async-events are not limited.
  rates = { requests = { per_minute = 90, burst = 9, account = { "apiKey" } } },
  check = check,
  judge = judge,
  on = {
    identify = forward.by_mode(identify_person, token),
    track = forward.by_mode(track_event, token),
    delete = forward.by_mode(erase_person, token),
  },
}
