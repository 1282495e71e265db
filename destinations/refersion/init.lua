-- Refersion: affiliates of identify events, created through REST v2; delete takes them out of service. The
-- contract is told in README.md.

local tidegate = require "tidegate"
local address = require "tidegate.address"
local answer = require "tidegate.answer"
local country = require "tidegate.country"
local forward = require "tidegate.forward"
local merge = require("tidegate.tables").merge

local deliver, skip, reject = tidegate.deliver, tidegate.skip, tidegate.reject
local map, json, random_string = tidegate.map, tidegate.json, tidegate.random_string

local API = "https://api.refersion.com/v2"
local PAGES = 40 -- of a search, before somebody has to look

local settings_schema = {
  apiKey = { type = "string", required = true, secret = true,
    help = "public and secret API key, joined by a dot: publickey.secretkey" },

  mode = { type = "enum", values = { "direct", "forward" }, default = "direct",
    help = "direct: REST v2. forward: the whole event to endpoint" },
  endpoint = { type = "url", help = "forward: the partner's address" },
  baseUrl = { type = "url", default = "https://api.refersion.com",
    help = "direct: replaces scheme, host and port of the API" },

  affiliateStatus = { type = "enum", values = { "PENDING", "ACTIVE" }, default = "PENDING",
    help = "status of new affiliates" },
  sendWelcome = { type = "boolean", default = false, help = "Refersion sends new affiliates its welcome email" },
  offerId = { type = "string", default = "", help = "offer of new affiliates; empty: the account's default" },
  updateExisting = { type = "boolean", default = false,
    help = "when the affiliate exists, write name and address anew" },
  deleteAction = { type = "enum", values = { "disable", "deny", "none" }, default = "disable",
    help = "what a delete event does to the affiliate; the API cannot remove one" },
}

-- --- fields: Refersion's name, and where it comes from -------------------------------------------------------

local function short(text)
  return #text <= 1000 and text or nil
end

local function email_address(text)
  return #text <= 320 and text:find("^[^@]+@[^@]+$") and text or nil
end

local function alphanumeric(text)
  return #text <= 255 and text:find("^%w+$") and text or nil
end

local EMAIL = { "trim", email_address }

local email_rows = {
  { to = "email", from = { "traits.email", "context.traits.email", "email" }, as = EMAIL,
    required = "no_email" },
}

local name_rows = {
  { to = "first", as = "trim",
    from = { "traits.firstName", "traits.first_name", "context.traits.firstName", "context.traits.first_name" } },
  { to = "last", as = "trim",
    from = { "traits.lastName", "traits.last_name", "context.traits.lastName", "context.traits.last_name" } },
  { to = "full", as = { "trim", short }, from = { "traits.name", "context.traits.name" } },
}

local address_rows = {
  { to = "address1", as = "trim",
    from = { "traits.address.street", "traits.address", "context.traits.address.street", "context.traits.address" } },
  { to = "city", as = "trim", from = { "traits.address.city", "context.traits.address.city" } },
  { to = "state", as = "trim", from = { "traits.address.state", "context.traits.address.state" } },
  { to = "zip", as = "trim",
    from = { "traits.address.postalCode", "traits.address.postal_code",
      "context.traits.address.postalCode", "context.traits.address.postal_code" } },
  { to = "country", as = country.code, from = { "traits.address.country", "context.traits.address.country" } },
}

local other_rows = {
  { to = "phone", as = "trim", from = { "traits.phone", "context.traits.phone" } },
  { to = "company", as = "trim",
    from = { "traits.company", "traits.company.name", "context.traits.company", "context.traits.company.name" } },
  { to = "unique_merchant_id", as = alphanumeric, from = "userId" },
}

local delete_rows = {
  { to = "email", from = { "email", "traits.email", "context.traits.email" }, as = EMAIL,
    required = true },
}

-- First and last name; nil when the event does not have both. "Ann van Dyk" is Ann and van Dyk, "Ann" gets a
-- dash, because Refersion wants a last name.
local function names(event)
  local name = map(event, name_rows)
  local first, last = name.full, "-"
  local space = name.full and name.full:find(" ", 1, true)
  if space then
    first, last = name.full:sub(1, space - 1), name.full:sub(space + 1):match("^%s*(.*)$")
  end
  first = name.first or first
  last = name.last or (name.full and last)
  if first and last then
    return first, last
  end
end

-- --- calls ---------------------------------------------------------------------------------------------------

local function keys(settings)
  local public, secret = settings.apiKey:match("^%s*([^.]-)%s*%.%s*(.-)%s*$")
  return public or "", secret or ""
end

local function call(settings, path, body, repeatable)
  local public, secret = keys(settings)
  return deliver {
    method = "POST",
    url = address.rebase(API, settings.baseUrl) .. path,
    headers = { ["Refersion-Public-Key"] = public, ["Refersion-Secret-Key"] = secret },
    json = body,
    secret = body.password,
    repeatable = repeatable,
  }
end

-- What a call answers, as a table. The questions of a chain are put again at each attempt.
local function ask(settings, path, body, repeatable)
  local told = answer.read(call(settings, path, body, repeatable):wait())
  if not told then
    reject("unreadable_answer", path .. " answered with something that is not JSON")
  end
  return told
end

local function same_email(one, other)
  return type(one) == "string" and one:lower() == other:lower()
end

-- Codes of the affiliates of exactly this address: the search finds parts of addresses too, and answers page by page.
local function search(settings, email)
  local codes, known, seen = {}, {}, 0
  for page = 1, PAGES do
    local question = { keyword = email, page = page > 1 and tostring(page) or nil }
    local told = ask(settings, "/affiliate/search", question, true)
    local results = type(told.results) == "table" and told.results or {}
    for _, result in ipairs(results) do
      local code = type(result) == "table" and same_email(result.email, email) and result.id
      if code and not known[code] then
        known[code] = true
        codes[#codes + 1] = code
      end
    end
    seen = seen + #results
    if #results == 0 or seen >= (json.tonumber(told.total) or 0) then
      return codes
    end
  end
  reject("too_many_matches", "the search for the address has more than " .. PAGES .. " pages")
end

-- The affiliates of exactly this address: { id = number, status = "ACTIVE" }. Changes want numbers, not codes.
local function find_affiliates(settings, email)
  local found = {}
  for _, code in ipairs(search(settings, email)) do
    local affiliate = ask(settings, "/affiliate/get", { affiliate_code = code }, true)
    local id = json.tonumber(affiliate.id)
    if not id then
      reject("no_affiliate_id", "/affiliate/get answered without a numeric id")
    end
    found[#found + 1] = { id = id, status = affiliate.status }
  end
  return found
end

local function must_have_changed(told, ids)
  local changed = {}
  for _, id in ipairs(type(told.ids_changed) == "table" and told.ids_changed or {}) do
    changed[json.tonumber(id) or id] = true
  end
  for _, id in ipairs(ids) do
    if not changed[id] then
      reject("not_changed", "Refersion did not change affiliate " .. id)
    end
  end
end

-- --- identify ------------------------------------------------------------------------------------------------

-- Between 9 and 72 characters with an upper and a lower case letter, a digit and a special character. Nobody
-- ever sees it: affiliates set their own.
local function new_password()
  return random_string(20)
    .. random_string(1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    .. random_string(1, "abcdefghijklmnopqrstuvwxyz")
    .. random_string(1, "0123456789")
    .. random_string(1, "!#$%&*+-=?")
end

local function says_duplicate(response)
  local text = response.status == 422 and response.body:lower() or ""
  local function says(words)
    return text:find(words, 1, true) ~= nil
  end
  return says("already") or says("taken") or (says("exist") and not says("not exist") and not says("n't exist"))
end

local function update_affiliate(settings, email, fields)
  for _, affiliate in ipairs(find_affiliates(settings, email)) do
    fields.id = affiliate.id
    must_have_changed(ask(settings, "/affiliate/edit", { affiliates = { fields } }), { affiliate.id })
  end
end

local function create_affiliate(event, settings)
  local email = map(event, email_rows).email
  local first, last = names(event)
  if not first then
    skip("no_name")
  end
  local fields = map(event, address_rows)
  fields.first_name, fields.last_name = first, last

  local body = map(event, other_rows)
  merge(body, fields)
  body.email, body.password = email, new_password()
  body.status = settings.affiliateStatus
  body.send_welcome = settings.sendWelcome and "TRUE" or "FALSE"
  body.offer = settings.offerId ~= "" and settings.offerId or nil

  local created = call(settings, "/affiliate/new", body)
  if settings.updateExisting and says_duplicate(created:wait()) then
    update_affiliate(settings, email, fields)
  end
end

-- --- delete --------------------------------------------------------------------------------------------------

local statuses = { disable = "DISABLED", deny = "DENIED" }

local function retire_affiliate(event, settings)
  local status = statuses[settings.deleteAction]
  if not status then
    skip("delete_off")
  end
  local email = map(event, delete_rows).email
  local ids = json.array {}
  for _, affiliate in ipairs(find_affiliates(settings, email)) do
    if affiliate.status ~= status then
      ids[#ids + 1] = affiliate.id
    end
  end
  if #ids > 0 then
    must_have_changed(ask(settings, "/affiliate/status_change", { ids = ids, status = status }), ids)
  end
end

-- --- the contract --------------------------------------------------------------------------------------------

local function check(settings)
  local public, secret = keys(settings)
  if public == "" or secret == "" then
    return "apiKey: publickey.secretkey is wanted: both keys, joined by a dot"
  end
  if (public .. secret):find("%c") then
    return "apiKey: holds a control character"
  end
  if settings.mode == "forward" then
    return forward.check(settings)
  end
end

-- Creating an affiliate that exists is no failure: an identify may come twice, and so may an attempt.
local function judge(response, request, settings)
  if settings.mode == "direct" and request.url:find("/affiliate/new", 1, true) and says_duplicate(response) then
    return "ok", "duplicate"
  end
end

return {
  name = "Refersion",
  settings = settings_schema,
  hosts = { "api.refersion.com" },
  check = check,
  judge = judge,
  on = { identify = forward.by_mode(create_affiliate), delete = forward.by_mode(retire_affiliate) },
}
