--- lumio: events, profiles and removals for the Lumio Events API (v2). The tutorial of lua/README.md goes through it.

local tidegate = require "tidegate"
local deliver, map, reject, json = tidegate.deliver, tidegate.map, tidegate.reject, tidegate.json

local MAX_ATTRS = 50
local MAX_CENTS = 2 ^ 53
-- Lumio has names of its own for these; every other event keeps its name, in snake_case.
local VERBS = { order_completed = "purchase", signed_up = "signup", account_created = "signup" }

local function cents(amount)
  local value = math.floor(amount * 100 + 0.5)
  if value > -MAX_CENTS and value < MAX_CENTS then
    return value
  end
end

local EVENT = {
  { to = "id", from = "messageId", as = "string", required = true },
  { to = "at", from = "timestamp", as = "unix_time", required = true },
}
local PURCHASE = {
  { to = "amount_cents", from = { "properties.revenue", "properties.total" }, as = { "number", cents },
    required = true },
  { to = "currency", from = "properties.currency", as = { "string", "trim", "upper" }, required = true },
}
local PROFILE = {
  { to = "email_sha256", from = { "traits.email", "context.traits.email" },
    as = { "string", "trim", "lower", "sha256" }, required = "no_email" },
  { to = "name", from = { "traits.name", "context.traits.name" }, as = { "string", "trim" } },
  { to = "plan", from = { "traits.plan", "context.traits.plan" }, as = { "string", "trim" } },
}

local function base(settings)
  return (settings.baseUrl:gsub("/+$", ""))
end

local function authorization(settings)
  return "Bearer " .. tidegate.oauth2 {
    token_url = base(settings) .. "/oauth2/token", scope = "ingest",
    client_id = settings.clientId, client_secret = settings.clientSecret, rate = "tokens",
  }
end

-- The relay takes no event without one of the two.
local function who(event)
  return event.userId or "anon:" .. event.anonymousId
end

-- "Product Added" and "productAdded" are product_added.
local function snake(name)
  local verb = name:sub(1, 200):gsub("(%l)(%u)", "%1_%2"):lower():gsub("[^a-z0-9]+", "_")
  verb = verb:gsub("^_+", ""):gsub("_+$", "")
  return verb:find "^%d" and "e_" .. verb or verb
end

local function attributes(properties)
  local names, attrs = {}, {}
  for name, value in pairs(properties) do
    local kind = type(value)
    if type(name) == "string" and (kind == "string" or kind == "boolean" or json.tonumber(value)) then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  for i = 1, math.min(#names, MAX_ATTRS) do
    attrs[names[i]] = properties[names[i]]
  end
  return #names > 0 and attrs or nil
end

local function send(event, settings, verb, item)
  item.verb, item.who, item.attrs = verb, who(event), attributes(event.properties)
  deliver {
    method = "POST", url = base(settings) .. "/v2/events",
    headers = { Authorization = authorization(settings), ["X-Lumio-Workspace"] = settings.workspace },
    batch = "events", item = item, rate = "api",
  }
end

local function track(event, settings)
  local verb = type(event.event) == "string" and snake(event.event) or ""
  if verb == "" then
    reject("no_verb", "the event's name has no letter or digit that Lumio takes")
  end
  verb = VERBS[verb] or verb
  local item = map(event, EVENT)
  if verb == "purchase" then
    for key, value in pairs(map(event, PURCHASE)) do
      item[key] = value
    end
  end
  send(event, settings, verb, item)
end

local function page(event, settings)
  send(event, settings, "view", map(event, EVENT))
end

local function profile_url(event, settings)
  return base(settings) .. "/v2/profiles/" .. tidegate.url.encode(who(event))
end

local function identify(event, settings)
  local profile = map(event, PROFILE)
  deliver {
    method = "PUT", url = profile_url(event, settings), headers = { Authorization = authorization(settings) },
    json = profile, rate = "api", key = who(event),
  }
end

local function delete(event, settings)
  deliver {
    method = "DELETE", url = profile_url(event, settings), headers = { Authorization = authorization(settings) },
    rate = "api", key = who(event),
  }
end

local function join(items)
  local lines = {}
  for i = 1, #items do
    lines[i] = json.encode(items[i]) .. "\n"
  end
  return { body = table.concat(lines), headers = { ["Content-Type"] = "application/x-ndjson" } }
end

-- { "results": [ { "line": 1, "status": "ok" | "invalid" | "busy", "code": "…", "message": "…" } ] }
local function split(response, items)
  if response.status >= 400 then
    return nil
  end
  local answer, outcomes = json.try_decode(response.body), {}
  for i = 1, #items do
    outcomes[i] = { "retry", "no_result" } -- a line that Lumio says nothing of; its id keeps it from counting twice
  end
  local results = type(answer) == "table" and type(answer.results) == "table" and answer.results or {}
  for _, result in ipairs(results) do
    local line = type(result) == "table" and json.tonumber(result.line)
    if line and outcomes[line] then
      if result.status == "ok" then
        outcomes[line] = "ok"
      elseif result.status == "invalid" then
        outcomes[line] = { "reject", result.code or "invalid", result.message }
      elseif result.status == "busy" then
        outcomes[line] = { "retry", "busy" }
      end
    end
  end
  return outcomes
end

local function judge(response, request)
  if request.method == "DELETE" and response.status == 404 then
    return "ok" -- there is none: removed already
  end
  local answer = response.status == 422 and json.try_decode(response.body)
  if type(answer) == "table" then
    return "reject", answer.error, answer.field
  end
end

return {
  name = "Lumio",
  description = "Lumio Events API v2: events as NDJSON batches, profiles, removals",
  settings = {
    baseUrl = { type = "url", required = true, help = "base address, https://<region>.lumio.example" },
    workspace = { type = "string", required = true, help = "workspace id" },
    clientId = { type = "string", required = true, help = "OAuth2 client id" },
    clientSecret = { type = "string", required = true, secret = true, help = "OAuth2 client secret" },
  },
  rates = {
    api = { per_minute = 110, burst = 10, account = { "baseUrl", "workspace" } }, -- 120 a minute, burst included
    tokens = { per_minute = 17, burst = 3, account = { "baseUrl", "clientId" } }, -- 20 a minute
  },
  -- 256 kB a call; the 25 line ends are not counted
  batches = { events = { max_items = 25, max_bytes = 255900, max_wait_ms = 500, join = join, split = split } },
  judge = judge,
  on = { track = track, page = page, identify = identify, delete = delete },
}
