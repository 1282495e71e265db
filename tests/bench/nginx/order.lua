-- The whole job in nginx, as the relay does it: take events, map each (as in scripts/order/init.lua), post to the partner.
-- Nothing is durable here. `queue` answers at once and posts batches of 50 from a timer; `each` posts every event by itself
-- over a kept connection before it answers.

local cjson = require "cjson"

local M = {}
local SIZE, PERIOD = 50, 0.005
local queue, first, last = {}, 1, 0

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

local function post(port, body)
  local socket = ngx.socket.tcp()
  assert(socket:connect("127.0.0.1", port))
  assert(socket:send {
    "POST /ok/order HTTP/1.1\r\nHost: sink\r\nContent-Type: application/json\r\nContent-Length: ", tostring(#body), "\r\n\r\n", body,
  })
  repeat
    local line = assert(socket:receive("*l")) -- the stand-in's answers have no body
  until line == ""
  assert(socket:setkeepalive(60000, 64))
end

local function events()
  ngx.req.read_body()
  local body = cjson.decode(ngx.req.get_body_data())
  return body.batch or { body }
end

local function answer()
  ngx.header["Content-Type"] = "application/json"
  ngx.print('{"success":true}')
end

local function flush(port)
  while first <= last do
    local batch, n = {}, 0
    while first <= last and n < SIZE do
      n = n + 1
      batch[n], queue[first] = queue[first], nil
      first = first + 1
    end
    post(port, "[" .. table.concat(batch, ",") .. "]")
  end
end

function M.start(port)
  ngx.timer.every(PERIOD, function() flush(port) end)
end

function M.queue()
  for _, e in ipairs(events()) do
    last = last + 1
    queue[last] = cjson.encode(map(e))
  end
  answer()
end

function M.each(port)
  for _, e in ipairs(events()) do
    post(port, cjson.encode(map(e)))
  end
  answer()
end

return M
