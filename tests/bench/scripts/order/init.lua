--- Destination of the measurements: an order as a partner might want it, in batches. `burn` makes it a slow script.

local tidegate = require "tidegate"
local deliver, json = tidegate.deliver, tidegate.json

local order = {
  name = "Order",
  settings = {
    url = { type = "url", required = true, help = "where orders are posted" },
    batchSize = { type = "integer", default = 50, min = 1, max = 1000, help = "orders of one request" },
    batchWaitMs = { type = "integer", default = 500, min = 1, max = 60000, help = "how long one may wait for others" },
    burn = { type = "integer", default = 0, min = 0, max = 1000000000, help = "turns of an idle loop for each event" },
  },
  hosts = {}, -- the one of `url`
  batches = {
    orders = { max_items = "batchSize", max_bytes = 4 * 1024 * 1024, max_wait_ms = "batchWaitMs" },
  },
}

-- nginx/order.lua does the same for the peers.
local function map(e)
  local p, c = e.properties, e.context
  local items = {}
  for i, x in ipairs(p.products) do
    items[i] = { sku = x.sku, price = x.price, quantity = x.quantity, name = x.name }
  end
  return {
    id = e.messageId, event = e.event, orderId = p.order_id, amount = p.total, currency = p.currency, coupon = p.coupon,
    customer = e.userId, ip = c.ip, agent = c.userAgent, url = c.page.url, time = e.timestamp, items = items,
  }
end

function order.batches.orders.join(items)
  return { body = "[" .. table.concat(items, ",") .. "]" }
end

local HEADERS = { ["Content-Type"] = "application/json" }

order.on = {
  track = function(event, settings)
    for _ = 1, settings.burn do end
    deliver { method = "POST", url = settings.url, headers = HEADERS, batch = "orders", item = json.encode(map(event)) }
  end,
}

return order
