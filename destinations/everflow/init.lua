--- Everflow: conversions of track events, reported by server postback. The contract is told in README.md.

local tidegate = require "tidegate"
local address = require "tidegate.address"
local answer = require "tidegate.answer"
local forward = require "tidegate.forward"
local merge = require("tidegate.tables").merge
local text = require "tidegate.text"

local deliver, skip, log = tidegate.deliver, tidegate.skip, tidegate.log
local first, map, json, url = tidegate.first, tidegate.map, tidegate.json, tidegate.url

local everflow = {
  name = "Everflow",
  settings = {
    apiKey = { type = "string", required = true, secret = true,
      help = "API key from the Control Center (My Account or Security). Not sent to the tracking domain" },
    eventMapping = { type = "text-map", required = true,
      help = "event name = advertiser event id (digits; 0: the base conversion). Events without an entry are skipped" },

    mode = { type = "enum", values = { "direct", "forward" }, default = "direct",
      help = "direct: server postback. forward: the whole event to endpoint" },
    endpoint = { type = "url", help = "forward: the partner's address" },
    baseUrl = { type = "url", help = "direct: replaces scheme, host and port of the postback address" },

    postbackUrl = { type = "url",
      help = "direct: the account's postback URL as Everflow shows it, with nid; placeholders in {} are left out" },
    trackingDomain = { type = "string",
      help = "direct, instead of postbackUrl: the tracking domain, such as track.example.com" },
    networkId = { type = "string", default = "", help = "direct, with trackingDomain: the network id (nid)" },
    verificationToken = { type = "string", default = "", secret = true,
      help = "sent as verification_token, when the advertiser verifies tokens" },
    advertiserId = { type = "string", default = "", help = "sent as aid beside an advertiser event id" },
    sendTimestamp = { type = "boolean", default = true, help = "send the event's time as timestamp, in unix seconds" },
    ipParam = { type = "string", default = "", help = "query field for context.ip; empty: it is not sent" },
  },
  hosts = { "{trackingDomain}" }, -- and that of postbackUrl: each customer has tracking domains of its own
}

local AMOUNT = { "properties.total", "properties.revenue", "properties.amount", "properties.value" }

-- "76,50" is an amount too; "1,234" might be two, so it is none.
local function decimal_point(value)
  if type(value) == "string" and #value < 40 then
    return (value:gsub("^(%s*[+-]?%d+),(%d%d?%s*)$", "%1.%2"))
  end
  return value
end

local conversion_rows = {
  { to = "amount", from = AMOUNT, as = { decimal_point, "number" } },
  { to = "order_id", from = { "properties.orderId", "properties.order_id" }, as = "string" },
  { to = "adv1", from = "properties.adv1", as = "string" },
  { to = "adv2", from = "properties.adv2", as = "string" },
  { to = "adv3", from = "properties.adv3", as = "string" },
  { to = "adv4", from = "properties.adv4", as = "string" },
  { to = "adv5", from = "properties.adv5", as = "string" },
  { to = "adv6", from = "properties.adv6", as = "string" },
  { to = "adv7", from = "properties.adv7", as = "string" },
  { to = "adv8", from = "properties.adv8", as = "string" },
  { to = "adv9", from = "properties.adv9", as = "string" },
  { to = "adv10", from = "properties.adv10", as = "string" },
  { to = "coupon_code", as = "string",
    from = { "properties.coupon", "properties.couponCode", "properties.coupon_code" } },
  { to = "email", from = { "properties.email", "context.traits.email" }, as = "string" },
  { to = "user_id", from = "userId", as = "string" },
  { to = "timestamp", from = "timestamp", as = "unix_time" },
}

local name_rows = { { to = "name", from = "event", as = "trim" } }
local ip_rows = { { to = "ip", from = "context.ip", as = "string" } }

local referrer_rows = {
  { to = "id", from = "context.referrer.id", as = "trim", required = "no_transaction_id" },
  { to = "type", from = "context.referrer.type", as = { "trim", "lower" }, required = "no_transaction_id" },
}

-- --- the event map ---------------------------------------------------------------------------------------------

local function trim(s)
  return s:match("^%s*(.-)%s*$")
end

local function is_id(s)
  return s:find("^%d+$") ~= nil
end

-- Name and id of one pair of the map. A pair written the wrong way round, id = name, is read as it was meant.
local function name_and_id(key, value)
  key, value = trim(key), trim(value)
  if is_id(key) and not is_id(value) then
    return value, key
  end
  return key, value
end

-- The advertiser event id for an event's name; nil when it is not mapped.
local function advertiser_event(name, mapping)
  local plain = mapping[name] and trim(mapping[name])
  if plain and is_id(plain) then
    return plain
  end
  for key, value in pairs(mapping) do -- not written that plainly, or not mapped
    local mapped, id = name_and_id(key, value)
    if mapped == name then
      return id
    end
  end
end

local function check_mapping(mapping)
  local ids = {}
  for key, value in pairs(mapping) do
    local name, id = name_and_id(key, value)
    if not is_id(id) then
      return "eventMapping: the id of \"" .. name .. "\" must be a whole number of digits, 0 or more"
    end
    if ids[name] and ids[name] ~= id then
      return "eventMapping: \"" .. name .. "\" is mapped to two ids"
    end
    ids[name] = id
  end
  if next(ids) == nil then
    return "eventMapping: at least one event must be mapped"
  end
end

-- --- the postback address --------------------------------------------------------------------------------------

local function take_apart(account, settings)
  local parts = url.parse(account)
  local query = url.query(parts.query)
  for name, value in pairs(query) do
    if value:find("{", 1, true) then
      query[name] = nil
    end
  end
  query.nid = query.nid or settings.networkId
  query.event_id, query.adv_event_id = nil, nil -- the event map decides
  local path = parts.path == "" and "/" or parts.path
  return { endpoint = address.origin(settings.baseUrl or account) .. path, query = query }
end

local taken_apart = {} -- the same settings come with each event, and give the same

-- Address and fixed query of the account's postback.
local function postback(settings)
  local account = settings.postbackUrl or "https://" .. settings.trackingDomain .. "/"
  local key = account .. " " .. settings.networkId .. " " .. (settings.baseUrl or "")
  taken_apart[key] = taken_apart[key] or take_apart(account, settings)
  local query = {}
  merge(query, taken_apart[key].query)
  return taken_apart[key].endpoint, query
end

local function check_postback(settings)
  if not settings.postbackUrl and not settings.trackingDomain then
    return { "postbackUrl: required when mode is \"direct\" (or trackingDomain and networkId)" }
  end
  local problems = {}
  local _, query = postback(settings)
  if (query.nid or "") == "" then
    table.insert(problems, settings.postbackUrl and "postbackUrl: has no nid; copy it from Everflow, or give networkId"
      or "networkId: required beside trackingDomain")
  end
  if query.verification_token then
    table.insert(problems, "postbackUrl: give its verification_token by verificationToken, which is kept out of logs")
  end
  if not settings.ipParam:find("^[%w_.-]*$") then
    table.insert(problems, "ipParam: the name of a query field is wanted: letters, digits, _ . and -")
  end
  return problems
end

function everflow.check(settings)
  local problems = settings.mode == "forward" and { forward.check(settings) } or check_postback(settings)
  local mapping = check_mapping(settings.eventMapping)
  table.insert(problems, mapping)
  return problems
end

-- --- events ----------------------------------------------------------------------------------------------------

-- Everflow's own SDK cuts joined ids like this.
local function transaction_id(id)
  if text.longer(id, 332) then
    return text.first(id, 33) .. text.last(id, 297)
  end
  return id
end

local function conversion(event, settings, referrer, event_id)
  local endpoint, query = postback(settings)
  merge(query, map(event, conversion_rows))
  if not query.amount and first(event, AMOUNT) ~= nil then
    log.warn("the amount is not a number: the conversion goes without it", { messageId = event.messageId })
  end
  query.transaction_id = transaction_id(referrer.id)
  if tonumber(event_id) ~= 0 then
    query.adv_event_id = event_id
    query.aid = settings.advertiserId ~= "" and settings.advertiserId or query.aid
  end
  if not settings.sendTimestamp then
    query.timestamp = nil
  end
  if settings.ipParam ~= "" then
    query[settings.ipParam] = map(event, ip_rows).ip
  end
  if settings.verificationToken ~= "" then
    query.verification_token = settings.verificationToken
  end
  deliver { method = "GET", url = endpoint, query = query }
end

local function track(event, settings)
  local name = map(event, name_rows).name
  local event_id = name and advertiser_event(name, settings.eventMapping)
  if not event_id then
    skip("not_mapped")
  end
  local referrer = map(event, referrer_rows)
  if referrer.type ~= "everflow" then
    skip("other_referrer")
  end
  if settings.mode == "forward" then
    forward.event(event, settings, { eventMapping = settings.eventMapping })
  else
    conversion(event, settings, referrer, event_id)
  end
end

-- A postback may be refused in a reply that says 200.
function everflow.judge(response, _, settings)
  if settings.mode ~= "direct" or response.status < 200 or response.status > 299 then
    return nil
  end
  local message = (answer.read(response) or {}).error
  if message and message ~= "" and message ~= json.null then
    return "reject", "everflow_error"
  end
end

everflow.on = { track = track }

return everflow
