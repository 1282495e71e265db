--- What scripts get from `require "tidegate"`: the primitives of C, and what is put together from them here.
--
-- The table is shared by all scripts of a worker and read-only. lua/README.md describes every member.

local core = require "tidegate.core"

local tidegate = {}
for name, member in pairs(core) do
  tidegate[name] = member
end

tidegate.token_used = nil -- only for `token`

local EARLY = 60 -- seconds before its end at which a token is fetched anew, or a fifth of its life
local LIFE = 300 -- seconds that a token is kept when it does not say how long it lives

--- A text to authenticate with, kept in the destination's cache until shortly before its end. A 401 ends it at once:
-- the event is run again with a fresh one, and only when that is refused too does the 401 count. In handlers only.
-- @param name of the token, within this destination
-- @param fetch function that returns the text and for how many seconds it is good (300 when it says nothing)
-- @return the text
function tidegate.token(name, fetch)
  local key = "token " .. name
  local text = core.cache.get(key)
  if not text then
    local life
    text, life = fetch()
    if type(text) ~= "string" or text == "" then
      error("token: the function gives a text and its seconds, not a " .. type(text), 2)
    end
    life = math.max(core.json.tonumber(life) or LIFE, 0)
    core.cache.set(key, text, life - math.min(EARLY, life / 5))
  end
  core.token_used(key)
  return text
end

local OPTIONS = { -- those that are required are true
  token_url = true, client_id = true, client_secret = true,
  scope = false, audience = false, in_body = false, rate = false,
}

local function check_oauth2(options)
  for name in pairs(options) do
    if OPTIONS[name] == nil then
      error("oauth2: there is no option '" .. tostring(name) .. "'", 3)
    end
  end
  for name, required in pairs(OPTIONS) do
    if required and (type(options[name]) ~= "string" or options[name] == "") then
      error("oauth2: " .. name .. ": text expected", 3)
    end
  end
end

local function fetch_token(options)
  local basic = not options.in_body
    and "Basic "
      .. core.base64.encode(core.url.encode(options.client_id) .. ":" .. core.url.encode(options.client_secret))
  local response = core.deliver({
    method = "POST",
    url = options.token_url,
    headers = { Accept = "application/json", Authorization = basic or nil },
    form = {
      grant_type = "client_credentials",
      scope = options.scope,
      audience = options.audience,
      client_id = options.in_body and options.client_id or nil,
      client_secret = options.in_body and options.client_secret or nil,
    },
    rate = options.rate,
    repeatable = true,
    share = true,
  }):wait()
  local answer = core.json.try_decode(response.body)
  if type(answer) ~= "table" or type(answer.access_token) ~= "string" or answer.access_token == "" then
    core.retry("oauth2_no_token")
  end
  return answer.access_token, answer.expires_in
end

--- A bearer token by OAuth 2 client credentials, fetched once for all events that want it and kept as `token` says.
-- In handlers only: it may deliver and wait. A refusal ends the handler as any failed delivery does.
-- @param options token_url, client_id, client_secret; scope, audience; rate: of the contract; in_body = true
--   sends the client's id and secret in the form instead of the Authorization header
-- @return the token
function tidegate.oauth2(options)
  check_oauth2(options)
  local name = "oauth2 " .. core.sha256(core.json.encode {
    options.token_url, options.client_id, options.client_secret, options.scope or "", options.audience or "",
  })
  return tidegate.token(name, function()
    return fetch_token(options)
  end)
end

return tidegate
