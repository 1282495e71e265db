--- impact.com (Segment: Impact Partnership Cloud): track events become conversions or page loads, page, screen and
-- identify calls page loads. The contract is told in README.md.

local tidegate = require "tidegate"
local address = require "tidegate.address"
local forward = require "tidegate.forward"
local merge = require("tidegate.tables").merge
local text = require "tidegate.text"

local deliver, skip, reject = tidegate.deliver, tidegate.skip, tidegate.reject
local get, map, json, url = tidegate.get, tidegate.map, tidegate.json, tidegate.url

local impact = {
  name = "Impact Partnership Cloud",
  settings = {
    accountSid = { type = "string", required = true, help = "Account SID: Basic user name and part of the path" },
    apiKey = { type = "string", required = true, secret = true, help = "Auth Token: Basic password" },
    campaignId = { type = "string", required = true, help = "sent as CampaignId" },
    actionEventNames = { type = "array", default = {},
      help = "track events that are conversions; empty: Order Completed" },
    installEventNames = { type = "array", default = {},
      help = "track events that are conversions too (installs); empty: Application Installed" },
    pageLoadEventNames = { type = "array", default = {},
      help = "track events that are page loads; empty: Application Opened" },
    enablePageEvents = { type = "boolean", default = false,
      help = "page calls become page loads (needed for web tracking)" },
    enableScreenEvents = { type = "boolean", default = false, help = "screen calls become page loads" },
    enableIdentifyEvents = { type = "boolean", default = false, help = "identify calls become page loads" },
    eventTypeId = { type = "string", default = "",
      help = "EventTypeId of conversions; empty: the event's name is sent as EventTypeCode" },
    androidAppId = { type = "string", default = "", help = "PropertyId of events from Android" },
    iOsAppId = { type = "string", default = "", help = "PropertyId of events from iOS and its relatives" },
    customParameterMapping = { type = "text-map", default = {},
      help = "impact parameter = path into the event (properties.customer_status); applied last" },
    customMappingForProducts = { type = "text-map", default = {},
      help = "item parameter without its number (ItemSku) = key inside a product (product_id)" },

    mode = { type = "enum", values = { "direct", "forward" }, default = "direct",
      help = "direct: impact's public API. forward: the whole event to endpoint" },
    endpoint = { type = "url", help = "forward: the partner's address" },
    baseUrl = { type = "url", default = "https://api.impact.com",
      help = "direct: scheme and host of the conversions API" },
    trackingBaseUrl = { type = "url", default = "https://trkapi.impact.com",
      help = "direct: scheme and host for page loads" },
    emailHash = { type = "enum", values = { "sha1", "sha256", "none" }, default = "sha1",
      help = "digest of CustomerEmail. A page load takes SHA-1 only; a conversion takes no plain address" },
    defaultPageUrl = { type = "string", default = "", help = "PageUrl of events without one" },
    apiVersion = { type = "string", default = "", help = "sent as IR-Version to the conversions API" },
  },
  hosts = { "api.impact.com", "trkapi.impact.com" },
  rates = {
    -- impact allows 1000 within any hour, those that go at once among them
    account = { per_hour = 950, burst = 50, account = { "accountSid" }, reset = "seconds" },
  },
}

-- --- fields -----------------------------------------------------------------------------------------------------

local function only_text(value)
  return type(value) == "string" and value or nil
end

local common_rows = {
  { to = "EventDate", from = "timestamp", as = "iso_time" },
  { to = "CustomerId", as = "trim",
    from = { "userId", "traits.userId", "traits.id", "context.traits.userId", "context.traits.id" } },
  { to = "CustomProfileId", from = "anonymousId", as = "trim" },
  { to = "CustomerEmail", from = { "traits.email", "context.traits.email", "properties.email" }, as = only_text },
  { to = "PageUrl", from = { "context.page.url", "properties.url" }, as = "string" },
  { to = "ReferringUrl", as = "string",
    from = { "context.page.referrer", "properties.referrer", "context.referrer.url" } },
  { to = "UserAgent", from = "context.userAgent", as = "string" },
  { to = "IpAddress", from = "context.ip", as = "string" },
  { to = "AppName", from = "context.app.name", as = "string" },
  { to = "AppVer", from = "context.app.version", as = "string" },
  { to = "AppPackage", from = { "context.app.namespace", "context.app.build" }, as = "string" },
  { to = "DeviceMfr", from = "context.device.manufacturer", as = "string" },
  { to = "DeviceModel", from = "context.device.model", as = "string" },
  { to = "DeviceCarrier", from = "context.network.carrier", as = "string" },
  { to = "DeviceLocale", from = "context.locale", as = "string" },
  { to = "DeviceOs", from = "context.os.name", as = "string" },
  { to = "DeviceOsVer", from = "context.os.version", as = "string" },
  { to = "TrackingConsent", from = "context.device.adTrackingEnabled", as = "boolean" },
}

local conversion_rows = {
  { to = "EventTypeCode", from = "event", as = "trim" },
  { to = "OrderId", as = "trim", from = { "properties.order_id", "properties.orderId", "properties.transactionID",
    "properties.transaction_id", "properties.checkout_id" } },
  { to = "CurrencyCode", from = "properties.currency", as = { "trim", "upper" } },
  { to = "OrderPromoCode", from = { "properties.coupon", "properties.coupon_id" }, as = "string" },
  { to = "OrderDiscount", from = "properties.discount", as = "number" },
  { to = "OrderShipping", from = "properties.shipping", as = "number" },
  { to = "OrderTax", from = "properties.tax", as = "number" },
  { to = "OrderMargin", from = "properties.margin", as = "number" },
  { to = "OrderSubTotalPostDiscount", as = "number",
    from = { "properties.subtotal", "properties.revenue", "properties.total" } },
  { to = "CustomerStatus", from = { "context.traits.status", "properties.status" }, as = "string" },
  { to = "CustomerCity", from = { "traits.address.city", "context.traits.address.city" }, as = "string" },
  { to = "CustomerCountry", as = "string", from = { "traits.address.country", "traits.country",
    "context.traits.address.country", "context.traits.country" } },
  { to = "CustomerPostCode", as = "string", from = { "traits.address.postalCode", "traits.address.postal_code",
    "traits.address.zip", "context.traits.address.postalCode", "context.traits.address.postal_code",
    "context.traits.address.zip" } },
  { to = "CustomerRegion", as = "string", from = { "traits.address.state", "traits.region",
    "context.traits.address.state", "context.traits.region" } },
  { to = "Latitude", from = "context.location.latitude", as = "number" },
  { to = "Longitude", from = "context.location.longitude", as = "number" },
}

-- Within one product.
local item_rows = {
  { to = "ItemSku", from = { "sku", "product_id" }, as = "string" },
  { to = "ItemName", from = "name", as = "string" },
  { to = "ItemCategory", from = "category", as = "string" },
  { to = "ItemBrand", from = "brand", as = "string" },
  { to = "ItemQuantity", from = "quantity", as = "number" },
  { to = "ItemPrice", from = "price", as = "number" },
  { to = "ItemPromoCode", from = "coupon", as = "string" },
}

-- impact cannot attribute an event without one of these.
local CONVERSION_KEYS = { "ClickId", "CustomerId", "CustomProfileId", "CustomClickId", "PromoCode", "OrderPromoCode",
  "MediaId", "MediaPartnerId", "UniqueUrl", "CallerId", "GoogAId", "AndroidId", "AppleIfa", "AppleIfv" }
local PAGE_LOAD_KEYS = { "CustomProfileId", "GoogAId", "AndroidId", "AppleIfa", "AppleIfv", "ClickId", "CustomerId" }

-- Longer values would name something else when cut.
local longest = {
  { field = "OrderId", characters = 64, reason = "order_id_too_long" },
  { field = "EventTypeCode", characters = 64, reason = "event_type_code_too_long" },
  { field = "ClickId", characters = 64, reason = "click_id_too_long" },
  { field = "CustomerId", characters = 255, reason = "customer_id_too_long" },
}

-- --- people -----------------------------------------------------------------------------------------------------

local function is_digest(value)
  return (#value == 40 or #value == 64) and value:find("^%x+$") ~= nil
end

local address_rows = { { to = "email", from = "email", as = { only_text, "trim", "lower" } } }

local function clean_address(value)
  return map({ email = value }, address_rows).email
end

-- Conversions take digests; a plain address never goes there.
local function conversion_email(value, hash)
  local clean = clean_address(value)
  if not clean or is_digest(clean) then
    return clean
  end
  return hash ~= "none" and tidegate[hash](clean) or nil
end

-- Page loads take SHA-1 or a plain address.
local function page_load_email(value, hash)
  local clean = clean_address(value)
  if not clean or is_digest(clean) or hash == "none" then
    return clean
  end
  return tidegate.sha1(clean)
end

-- CustomerId may not tell who it is.
local function customer_id(value)
  if value and value:find("@", 1, true) then
    return tidegate.sha1(value:lower())
  end
  return value
end

-- --- the click --------------------------------------------------------------------------------------------------

local CLICK_QUERY = { "irclickid", "clickid", "im_ref" }

-- The query of an address, or a query by itself.
local function query_of(location)
  local mark = location:find("?", 1, true)
  if not mark and location:find("://", 1, true) then
    return {}
  end
  local query = location:sub((mark or 0) + 1)
  return url.query(query:sub(1, (query:find("#", 1, true) or 0) - 1))
end

-- The click id in an address or a query, whatever the case of its name.
local function click_in(location)
  local query, names, found = type(location) == "string" and query_of(location) or {}, {}, {}
  for name in pairs(query) do
    table.insert(names, name)
  end
  table.sort(names)
  for _, name in ipairs(names) do
    found[name:lower()] = query[name]
  end
  for _, name in ipairs(CLICK_QUERY) do
    if (found[name] or "") ~= "" then
      return found[name]
    end
  end
end

local referrer_rows = {
  { to = "id", from = "context.referrer.id", as = "trim" },
  { to = "type", from = "context.referrer.type", as = { "trim", "lower" }, default = "impact" },
}
local click_rows = {
  { to = "id", from = { "properties.clickId", "properties.click_id", "properties.irclickid" }, as = "trim" },
}

local function click_id(event)
  local referrer = map(event, referrer_rows)
  if referrer.id and (referrer.type == "impact" or referrer.type == "impactradius") then
    return referrer.id
  end
  return map(event, click_rows).id
    or click_in(get(event, "context.page.url"))
    or click_in(get(event, "context.page.search"))
    or click_in(get(event, "properties.url"))
end

-- --- the device -------------------------------------------------------------------------------------------------

local APPLE = { ios = true, ipados = true, tvos = true, watchos = true, macos = true }

local device_rows = {
  { to = "os", from = { "context.os.name", "context.device.type" }, as = { "trim", "lower" } },
  { to = "id", from = "context.device.id", as = "string" },
  { to = "ad", from = "context.device.advertisingId", as = "string" },
}

local function device(event, settings)
  local found = map(event, device_rows)
  if APPLE[found.os] then
    return { AppleIfv = found.id, AppleIfa = found.ad, PropertyId = settings.iOsAppId }
  elseif found.os == "android" then
    return { AndroidId = found.id, GoogAId = found.ad, PropertyId = settings.androidAppId }
  end
  return {}
end

-- --- items ------------------------------------------------------------------------------------------------------

-- The text of what a path of a custom mapping leads to; nil for what is no text, number or boolean.
local function mapped(from, path)
  return map(from, { { to = "value", from = path, as = "string" } }).value
end

-- One product's parameters; a mapped key that the product has wins over the default one.
local function item(product, mapping)
  local fields = map(product, item_rows)
  for field, key in pairs(mapping) do
    fields[field] = mapped(product, key) or fields[field]
  end
  if fields.ItemSubTotal then
    fields.ItemPrice = nil -- impact takes one of them
  end
  return fields
end

-- Events without a list of products may be about one product themselves.
local function products(event)
  local list = get(event, "properties.products")
  if json.is_array(list) then
    return list
  end
  local properties = event.properties
  if properties.sku or properties.product_id or properties.price then
    return { properties }
  end
  return {}
end

-- Adds the items, numbered from 1, to `form`; returns how many there are.
local function add_items(form, event, settings)
  local count = 0
  for _, product in ipairs(products(event)) do
    local fields = type(product) == "table" and item(product, settings.customMappingForProducts) or {}
    if next(fields) ~= nil then
      count = count + 1
      for field, value in pairs(fields) do
        form[field .. count] = value
      end
    end
  end
  return count
end

-- --- requests ---------------------------------------------------------------------------------------------------

local function common(event, settings)
  local form = map(event, common_rows)
  merge(form, device(event, settings))
  form.CampaignId = settings.campaignId
  form.ClickId = click_id(event)
  form.PageUrl = form.PageUrl or settings.defaultPageUrl
  form.CustomProfileId = form.CustomProfileId and text.first(form.CustomProfileId, 70)
  return form
end

local function add_custom_parameters(form, event, settings)
  for parameter, path in pairs(settings.customParameterMapping) do
    form[parameter] = mapped(event, path) or form[parameter]
  end
end

local function check_form(form, keys)
  for _, rule in ipairs(longest) do
    local value = form[rule.field]
    if value and text.longer(tostring(value), rule.characters) then
      reject(rule.reason)
    end
  end
  for _, key in ipairs(keys) do
    if (form[key] or "") ~= "" then
      return
    end
  end
  skip("no_attribution_key")
end

local function conversion(event, settings)
  local form = common(event, settings)
  merge(form, map(event, conversion_rows))
  form.OrderId = form.OrderId or text.first(event.messageId or "", 64)
  if settings.eventTypeId ~= "" then
    form.EventTypeId, form.EventTypeCode = settings.eventTypeId, nil
  end
  if add_items(form, event, settings) > 0 then
    form.OrderSubTotalPostDiscount = nil
  elseif form.OrderSubTotalPostDiscount then
    form.OrderDiscount = nil -- it is in the total already
  end
  add_custom_parameters(form, event, settings)
  form.CustomerId = customer_id(form.CustomerId)
  form.CustomerEmail = conversion_email(form.CustomerEmail, settings.emailHash)
  check_form(form, CONVERSION_KEYS)
  deliver {
    method = "POST",
    url = address.origin(settings.baseUrl) .. "/Advertisers/" .. url.encode(settings.accountSid) .. "/Conversions",
    headers = {
      ["Authorization"] = "Basic " .. tidegate.base64.encode(settings.accountSid .. ":" .. settings.apiKey),
      ["Accept"] = "application/json",
      ["IR-Version"] = settings.apiVersion ~= "" and settings.apiVersion or nil,
    },
    form = form,
    rate = "account",
  }
end

local function page_load(event, settings)
  local form = common(event, settings)
  add_custom_parameters(form, event, settings)
  form.CustomerId = customer_id(form.CustomerId)
  form.CustomerEmail = page_load_email(form.CustomerEmail, settings.emailHash)
  check_form(form, PAGE_LOAD_KEYS)
  deliver {
    method = "POST",
    url = address.origin(settings.trackingBaseUrl) .. "/PageLoad",
    headers = { ["Accept"] = "application/json" }, -- the token stays here: page loads carry none
    form = form,
  }
end

-- --- events -----------------------------------------------------------------------------------------------------

function impact.check(settings)
  local problems = settings.mode == "forward" and { forward.check(settings) } or {}
  for _, name in ipairs { "customParameterMapping", "customMappingForProducts" } do
    for parameter, path in pairs(settings[name]) do
      if parameter == "" or path == "" then
        table.insert(problems, name .. ": '" .. parameter .. "' = '" .. path .. "': both sides are wanted")
      end
    end
  end
  return problems
end

-- What the partner's own endpoint gets beside the event.
local function segment_settings(settings)
  return {
    accountSid = settings.accountSid,
    campaignId = settings.campaignId,
    actionEventNames = json.array(settings.actionEventNames),
    installEventNames = json.array(settings.installEventNames),
    pageLoadEventNames = json.array(settings.pageLoadEventNames),
    enablePageEvents = settings.enablePageEvents,
    enableScreenEvents = settings.enableScreenEvents,
    enableIdentifyEvents = settings.enableIdentifyEvents,
    eventTypeId = settings.eventTypeId,
    androidAppId = settings.androidAppId,
    iOsAppId = settings.iOsAppId,
    customParameterMapping = settings.customParameterMapping,
    customMappingForProducts = settings.customMappingForProducts,
  }
end

local function named(name, list, default)
  for _, entry in ipairs(list) do
    if entry == name then
      return true
    end
  end
  return #list == 0 and name == default
end

local name_rows = { { to = "name", from = "event", as = "trim" } }

local function track(event, settings)
  local name = map(event, name_rows).name
  if named(name, settings.actionEventNames, "Order Completed")
    or named(name, settings.installEventNames, "Application Installed") then
    conversion(event, settings)
  elseif named(name, settings.pageLoadEventNames, "Application Opened") then
    page_load(event, settings)
  else
    skip("not_mapped")
  end
end

local function page_load_if(toggle)
  return function(event, settings)
    if not settings[toggle] then
      skip("type_disabled")
    end
    page_load(event, settings)
  end
end

local function by_mode(direct)
  return forward.by_mode(direct, segment_settings)
end

impact.on = {
  track = by_mode(track),
  page = by_mode(page_load_if("enablePageEvents")),
  screen = by_mode(page_load_if("enableScreenEvents")),
  identify = by_mode(page_load_if("enableIdentifyEvents")),
}

return impact
