--- What scripts get from `require "tidegate"`: the primitives of C, and what is put together from them here.
--
-- The table is shared by all scripts of a worker and read-only. lua/README.md describes every member.

local core = require "tidegate.core"

local tidegate = {}
for name, member in pairs(core) do
  tidegate[name] = member
end

local EARLY = 60 -- seconds before its end at which a token is fetched anew
local LIFE = 300 -- seconds that a token without expires_in is kept
local DOUBT = 60 -- seconds after a token was refused in which the refusal of another one is the client's fault

local function check_oauth2(options)
  for _, name in ipairs { "token_url", "client_id", "client_secret" } do
    if type(options[name]) ~= "string" or options[name] == "" then
      error("oauth2: " .. name .. ": text expected", 3)
    end
  end
end

local function token_key(options)
  return "oauth2 " .. core.sha256(core.json.encode {
    options.token_url, options.client_id, options.client_secret, options.scope or "", options.audience or "",
  })
end

local function fetch_token(options)
  local response = core.deliver({
    method = "POST",
    url = options.token_url,
    headers = {
      Accept = "application/json",
      Authorization = not options.in_body
          and "Basic "
            .. core.base64.encode(core.url.encode(options.client_id) .. ":" .. core.url.encode(options.client_secret))
        or nil,
    },
    form = {
      grant_type = "client_credentials",
      scope = options.scope,
      audience = options.audience,
      client_id = options.in_body and options.client_id or nil,
      client_secret = options.in_body and options.client_secret or nil,
    },
    repeatable = true,
  }):wait()
  local answer = core.json.try_decode(response.body)
  if type(answer) ~= "table" or type(answer.access_token) ~= "string" or answer.access_token == "" then
    core.retry("oauth2_no_token")
  end
  return answer
end

--- A bearer token by OAuth 2 client credentials, kept in the destination's cache until shortly before it ends.
-- In handlers only: it may deliver and wait. A refusal ends the handler as any failed delivery does.
-- @param options token_url, client_id, client_secret; scope, audience; in_body = true sends the client's id and
--   secret in the form instead of the Authorization header
-- @return the token
function tidegate.oauth2(options)
  check_oauth2(options)
  local key = token_key(options)
  local token = core.cache.get(key)
  if token then
    return token
  end
  local answer = fetch_token(options)
  local life = core.json.tonumber(answer.expires_in) or LIFE
  if life > EARLY then
    core.cache.set(key, answer.access_token, life - EARLY)
  end
  return answer.access_token
end

--- For `judge`, of a 401 to a request that carried a token of oauth2: the token is fetched no more from the cache.
-- @param options those of oauth2
-- @param authorization the request's header Authorization
-- @return true when another token may help, so the event is to be tried again; false when one that was fetched after
--   a refusal has been refused as well
function tidegate.oauth2_refused(options, authorization)
  check_oauth2(options)
  local key = token_key(options)
  local token = type(authorization) == "string" and authorization:match("^Bearer (.+)$") or ""
  local is_current = core.cache.get(key) == token
  if is_current then
    core.cache.delete(key)
  end
  local doubted = core.cache.get(key .. " refused")
  if doubted then
    return doubted == token and not is_current -- requests that were under way with the same one
  end
  core.cache.set(key .. " refused", token, DOUBT)
  return true
end

return tidegate
