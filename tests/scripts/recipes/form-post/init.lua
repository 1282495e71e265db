-- A form post with fields from the event.
local tidegate = require "tidegate"
local deliver, map = tidegate.deliver, tidegate.map

local ORDER = {
  { to = "order", from = { "properties.order_id", "properties.orderId" }, as = "string", required = "no_order" },
  { to = "amount", from = { "properties.revenue", "properties.total" }, as = "number", required = true },
  { to = "email", from = "context.traits.email", as = { "trim", "lower", "sha256" } },
  { to = "coupon", from = "properties.coupon", as = "string" },
  { to = "at", from = "timestamp", as = "unix_time" },
}

local function track(event, settings)
  deliver { url = "https://" .. settings.account .. ".example.com/orders", form = map(event, ORDER) }
end

return {
  name = "Form post",
  settings = { account = { type = "string", required = true, help = "name of the account" } },
  hosts = { "*.example.com" },
  on = { track = track },
}
