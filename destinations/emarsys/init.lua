-- Emarsys: page, screen, identify and track events alike. Forward mode hands them whole to Emarsys' add-on for
-- Segment; direct mode writes the contact and triggers external events through the Suite API. The contract is
-- told in README.md.

local tidegate = require "tidegate"
local address = require "tidegate.address"
local answer = require "tidegate.answer"
local forward = require "tidegate.forward"
local merge = require("tidegate.tables").merge

local deliver, skip, cache, log = tidegate.deliver, tidegate.skip, tidegate.cache, tidegate.log
local get, first, map, json = tidegate.get, tidegate.first, tidegate.map, tidegate.json

local API = "https://api.emarsys.net/api/"
local MB = 1000 * 1000

local settings_schema = {
  apiKey = { type = "string", default = "", secret = true,
    help = "forward: key of the add-on, from the Emarsys account manager" },

  mode = { type = "enum", values = { "forward", "direct" }, default = "forward",
    help = "forward: the whole event to endpoint. direct: Suite API" },
  endpoint = { type = "url", help = "forward: the partner's address" },
  baseUrl = { type = "url", default = "https://api.emarsys.net",
    help = "direct: replaces scheme, host and port of the API" },

  apiVersion = { type = "enum", values = { "v2", "v3" }, default = "v2",
    help = "direct: v2 signs with apiUser and apiSecret (until the end of 2026), v3 takes a token" },
  apiUser = { type = "string", default = "", help = "v2: name of the Suite API user, which is not the add-on's key" },
  apiSecret = { type = "string", default = "", secret = true, help = "v2: its secret" },
  tokenUrl = { type = "url", help = "v3: where the token comes from" },
  clientId = { type = "string", default = "", help = "v3: client id" },
  clientSecret = { type = "string", default = "", secret = true, help = "v3: client secret" },

  keyField = { type = "string", default = "3", help = "field that tells contacts apart: its id, or id or uid" },
  primaryKey = { type = "string", default = "traits.email", help = "where in the event that field's value is" },
  fieldMapping = { type = "text-map", help = "field id = place in the event",
    default = { ["1"] = "traits.firstName", ["2"] = "traits.lastName", ["3"] = "traits.email" } },
  userIdField = { type = "string", default = "", help = "id of a custom field that gets the userId" },
  anonymousIdField = { type = "string", default = "", help = "id of a custom field that gets the anonymousId" },
  contactListId = { type = "string", default = "", help = "contact list that the contacts are added to" },
  eventMapping = { type = "text-map", default = {},
    help = "event name = id of the external event to trigger, e.g. Order Completed = 1234" },
  batchSize = { type = "integer", default = 1, min = 1, max = 1000, help = "contacts or triggers in one call" },
  identityCache = { type = "boolean", default = false,
    help = "remember which key a userId or anonymousId had; for one worker or senders that stick to one" },
}

-- --- values of the event -------------------------------------------------------------------------------------

-- A trait may also be in context.traits, or among the properties.
local function places(path)
  local trait = path:match("^traits%.(.+)$")
  if trait then
    return { path, "context.traits." .. trait, "properties." .. trait }
  end
  return { path }
end

-- The first value; "" only when the event says nothing else, because an empty text clears the field.
local function value_at(event, path)
  local paths = places(path)
  local value = first(event, paths)
  for _, place in ipairs(value == nil and paths or {}) do
    if get(event, place) == "" then
      return ""
    end
  end
  return value
end

local function is_list(value)
  return type(value) == "table" and json.is_array(value)
end

-- As a field takes it: texts, numbers, lists of texts. Nil for what no field takes.
local function field_value(value)
  if type(value) == "boolean" then
    return tostring(value)
  end
  if type(value) ~= "table" then
    return value
  end
  if not is_list(value) then
    return nil
  end
  for _, item in ipairs(value) do
    if type(item) ~= "string" then
      return nil
    end
  end
  return value
end

-- --- the contact ---------------------------------------------------------------------------------------------

local function remember(event, key)
  if event.userId then
    cache.set("user " .. event.userId, key)
  end
  if event.anonymousId then
    cache.set("anonymous " .. event.anonymousId, key)
  end
end

local function recall(event)
  return event.userId and cache.get("user " .. event.userId)
    or event.anonymousId and cache.get("anonymous " .. event.anonymousId)
end

-- What tells the contact apart; nil for events of strangers.
local function primary_key(event, settings)
  local key = map(event, { { to = "key", from = places(settings.primaryKey), as = "trim" } }).key
  if not settings.identityCache then
    return key
  end
  if key then
    remember(event, key)
  end
  return key or recall(event)
end

local OPT_IN, opt_in_values = "31", { ["1"] = true, ["2"] = true, [""] = true }

local function contact_of(event, settings, key)
  local contact = {}
  for field, path in pairs(settings.fieldMapping) do
    contact[field] = field_value(value_at(event, path))
  end
  if contact[OPT_IN] ~= nil and not opt_in_values[tostring(contact[OPT_IN])] then
    log.warn("opt-in is 1, 2 or empty: the contact is written without it", { messageId = event.messageId })
    contact[OPT_IN] = nil
  end
  if settings.userIdField ~= "" then
    contact[settings.userIdField] = event.userId
  end
  if settings.anonymousIdField ~= "" then
    contact[settings.anonymousIdField] = event.anonymousId
  end
  contact[settings.keyField] = key
  return contact
end

-- --- the external event --------------------------------------------------------------------------------------

local page_forms = { page = "Viewed %s Page", screen = "Viewed %s Screen" }

-- The names by which the event may be mapped.
local function event_names(event)
  local form = page_forms[event.type]
  local name = map(event, { { to = "name", from = form and "name" or "event", as = "string" } }).name
  if form and name then
    return { name, form:format(name) }
  elseif event.type == "track" and name then
    return { name }
  end
  return { event.type }
end

-- The external event's id; nil when the event is not mapped.
local function external_event(event, settings)
  for _, name in ipairs(event_names(event)) do
    if settings.eventMapping[name] then
      return settings.eventMapping[name]
    end
  end
end

local function trigger_of(event, key)
  local data, attachment = merge({}, event.type == "identify" and event.traits or event.properties), nil
  if event.type ~= "identify" and is_list(data.attachment) then
    attachment, data.attachment = data.attachment, nil
  end
  return {
    external_id = key,
    data = data,
    attachment = attachment,
    trigger_id = event.messageId,
    event_time = map(event, { { to = "time", from = "timestamp", as = "iso_time" } }).time,
  }
end

-- --- calls ---------------------------------------------------------------------------------------------------

local function bearer(settings)
  return "Bearer " .. tidegate.oauth2 {
    token_url = settings.tokenUrl, client_id = settings.clientId, client_secret = settings.clientSecret,
  }
end

-- Every call goes through a batch, even when that holds one item: v2 is signed when the batch is joined, so
-- that each attempt has a signature of its own.
local function call(settings, path, request)
  request.url = address.rebase(API, settings.baseUrl) .. settings.apiVersion .. path
  request.headers = settings.apiVersion == "v3" and { ["Authorization"] = bearer(settings) } or nil
  request.rate = "requests"
  return deliver(request)
end

local function signature(settings)
  if settings.apiVersion == "v2" then
    return { ["X-WSSE"] = tidegate.wsse(settings.apiUser, settings.apiSecret) }
  end
end

-- Calls that create one contact at the same time get in each other's way: one at a time for each key.
local function write_contact(settings, key, contact)
  return call(settings, "/contact/", {
    method = "PUT",
    query = { create_if_not_exists = 1 },
    batch = "contacts",
    item = contact,
    key = key,
  })
end

local function trigger_event(settings, id, trigger)
  return call(settings, "/event/" .. id .. "/trigger", { method = "POST", batch = "triggers", item = trigger })
end

local function direct(event, settings)
  local key = primary_key(event, settings)
  if not key then
    skip("no_primary_key")
  end
  local written = write_contact(settings, key, contact_of(event, settings, key))
  local id = external_event(event, settings)
  if id then
    written:wait() -- a trigger needs a contact
    trigger_event(settings, id, trigger_of(event, key))
  end
end

-- --- batches -------------------------------------------------------------------------------------------------

-- Contacts of one key become one; later values win.
local function join_contacts(items, settings)
  local contacts, by_key = json.array {}, {}
  for _, item in ipairs(items) do
    local key = item[settings.keyField]
    if not by_key[key] then
      by_key[key] = {}
      contacts[#contacts + 1] = by_key[key]
    end
    merge(by_key[key], item)
  end
  local list = settings.contactListId:gsub("^0+", "") -- no number has zeros in front
  return {
    headers = signature(settings),
    json = {
      key_id = settings.keyField,
      contacts = contacts,
      contact_list_id = list ~= "" and json.number(list) or nil,
    },
  }
end

local function join_triggers(items, settings)
  local body = { contacts = items }
  if #items == 1 then
    body = items[1]
  end
  body.key_id = settings.keyField
  return { headers = signature(settings), json = body }
end

-- --- answers -------------------------------------------------------------------------------------------------

local RACE = "external id already exists"

-- Codes are final, and come with Emarsys' words, except that of calls that got in each other's way.
local function verdict(code, text)
  if type(text) == "string" and text:find(RACE, 1, true) then
    return "retry", "contact_is_being_created"
  end
  return "reject", "emarsys_" .. code, text
end

-- Code and text of { "2008": "No contact found" }.
local function code_in(err)
  local code, text = next(type(err) == "table" and err or {})
  if code then
    return tostring(code), text
  end
  return "error", err
end

-- The answer, and its errors of single contacts by their keys. Both are tables.
local function read(response)
  local told = answer.read(response) or {}
  local data = type(told.data) == "table" and told.data or {}
  return told, type(data.errors) == "table" and data.errors or {}
end

-- How the whole call failed; nil when it did not.
local function failure(response)
  local told, errors = read(response)
  local code = json.tonumber(told.replyCode)
  if code and code ~= 0 then
    return verdict(tostring(code), told.replyText)
  end
  if errors["<NO_KEY_ID>"] then
    return verdict(code_in(errors["<NO_KEY_ID>"]))
  end
  if response.status >= 300 then
    return "reject", "http_" .. response.status
  end
  if response.body ~= "" and not json.try_decode(response.body) then
    return "reject", "unreadable_answer"
  end
end

local function lower_keys(errors)
  local lower = {}
  for key, err in pairs(errors) do
    lower[tostring(key):lower()] = err
  end
  return lower
end

local function has_other(errors, asked)
  for key in pairs(errors) do
    if not asked[key] then
      return true
    end
  end
  return false
end

-- A verdict for each contact, or none when a call for several has failed as a whole: the relay then halves it
-- until the contact that Emarsys does not take is alone.
local function split_by(key_of)
  return function(response, items, settings)
    local whole = { failure(response) }
    if whole[1] then
      return #items == 1 and { whole } or nil
    end
    local _, errors = read(response)
    local _, any_error = next(errors)
    errors = lower_keys(errors)
    local outcomes, asked = {}, {}
    for i, item in ipairs(items) do
      local key = key_of(item, settings):lower()
      local err = #items == 1 and any_error or errors[key]
      outcomes[i] = err and { verdict(code_in(err)) } or "ok"
      asked[key] = true
    end
    if #items > 1 and has_other(errors, asked) then
      return nil -- somebody has failed under another name
    end
    return outcomes
  end
end

-- Emarsys tells failures in answers that say 200, and what is wrong with a 400 by a code.
local function judge(response, _, settings)
  if settings.mode == "direct" and (response.status < 300 or response.status == 400) then
    return failure(response)
  end
end

-- --- the contract --------------------------------------------------------------------------------------------

local function is_id(text)
  return text:find("^%d+$") and text:find("[1-9]") and true or false
end

local function check_ids(settings)
  if not is_id(settings.keyField) and settings.keyField ~= "id" and settings.keyField ~= "uid" then
    return "keyField: the number of a field is wanted, or id or uid"
  end
  for _, name in ipairs { "userIdField", "anonymousIdField", "contactListId" } do
    if settings[name] ~= "" and not is_id(settings[name]) then
      return name .. ": a number is wanted"
    end
  end
  for field, path in pairs(settings.fieldMapping) do
    if not is_id(field) or path == "" then
      return "fieldMapping: the number of a field and a place in the event are wanted, not \"" .. field .. "\""
    end
  end
  for name, id in pairs(settings.eventMapping) do
    if not is_id(id) then
      return "eventMapping: the id of \"" .. name .. "\" must be the number of an external event"
    end
  end
end

local credentials = { v2 = { "apiUser", "apiSecret" }, v3 = { "tokenUrl", "clientId", "clientSecret" } }

local function check_credentials(settings)
  for _, name in ipairs(credentials[settings.apiVersion]) do
    if (settings[name] or "") == "" then
      return name .. ": required when mode is \"direct\" and apiVersion is \"" .. settings.apiVersion .. "\""
    end
  end
  if settings.apiUser:find("[%c\"\\]") then
    return "apiUser: holds a quote, a backslash or a control character"
  end
end

local function check(settings)
  if settings.mode == "direct" then
    return check_credentials(settings) or check_ids(settings)
  end
  if settings.apiKey == "" then
    return "apiKey: required when mode is \"forward\""
  end
  return forward.check(settings)
end

local function contact_key(contact, settings)
  return contact[settings.keyField]
end

local function trigger_key(trigger)
  return trigger.external_id
end

local any = forward.by_mode(direct)

return {
  name = "Emarsys",
  settings = settings_schema,
  hosts = { "api.emarsys.net" },
  -- Emarsys takes 1000 a minute: 16 at once and 980 a minute after them, wherever its minute begins.
  rates = { requests = { per_minute = 980, burst = 16, account = { "apiUser", "clientId" }, reset = "epoch" } },
  batches = {
    contacts = { max_items = "batchSize", max_bytes = 8 * MB - 1000, max_wait_ms = 500,
      join = join_contacts, split = split_by(contact_key) },
    triggers = { max_items = "batchSize", max_bytes = MB - 1000, max_wait_ms = 500,
      join = join_triggers, split = split_by(trigger_key) },
  },
  check = check,
  judge = judge,
  on = { page = any, screen = any, identify = any, track = any },
}
