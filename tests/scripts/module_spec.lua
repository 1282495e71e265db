-- The module for plain LuaJIT: the primitives work there, what needs the relay says so, and a fixture that does not
-- hold fails.
local tidegate = require "tidegate"
local fixtures = require "tidegate.fixtures"

-- Writes a script with one fixture into a new folder, which it returns.
local function script(init, fixture)
  local folder = os.tmpname()
  os.remove(folder)
  assert(os.execute("mkdir -p " .. folder .. "/fixtures") == 0)
  for name, text in pairs { ["init.lua"] = init, ["fixtures/one.lua"] = fixture } do
    local file = assert(io.open(folder .. "/" .. name, "w"))
    file:write(text)
    file:close()
  end
  finally(function()
    os.execute("rm -r " .. folder)
  end)
  return folder
end

local SCRIPT = [[
  local tidegate = require "tidegate"
  local function track(event, settings)
    tidegate.deliver { url = settings.url, json = { name = event.event, at = tidegate.time.now() } }
  end
  local settings = { url = { type = "url", required = true, help = "where to" } }
  return { name = "Test", settings = settings, on = { track = track } }
]]

describe("primitives", function()
  it("are those of the relay", function()
    assert.equal("900150983cd24fb0d6963f7d28e17f72", tidegate.md5 "abc")
    local exact = tidegate.json.decode '{"b":9007199254740993,"a":[]}'
    assert.equal('{"a":[],"b":9007199254740993}', tidegate.json.encode(exact))
    assert.equal("a%20b", tidegate.url.encode "a b")
    local event = { context = { traits = { email = "x@example.com" } } }
    assert.equal("x@example.com", tidegate.get(event, "context.traits.email"))
    assert.same({ amount = "76" }, tidegate.map({ total = 76 }, { { to = "amount", from = "total", as = "string" } }))
  end)

  it("take the time and the randomness that a test fixes", function()
    tidegate.fixed.now(1234567890123)
    tidegate.fixed.seed(7)
    local first = tidegate.uuid()
    tidegate.fixed.seed(7)
    assert.equal(first, tidegate.uuid())
    assert.equal(1234567890123, tidegate.time.now())
    tidegate.fixed.now()
    tidegate.fixed.seed()
    assert.not_equal(1234567890123, tidegate.time.now())
  end)

  it("that need a handler raise outside of one", function()
    for name, call in pairs {
      deliver = function() tidegate.deliver { url = "https://example.com/" } end,
      skip = function() tidegate.skip "word" end,
      reject = function() tidegate.reject "word" end,
      retry = function() tidegate.retry "word" end,
      raw = function() tidegate.raw {} end,
      cache = function() tidegate.cache.get "key" end,
      map = function() tidegate.map({}, { { to = "a", from = "b", required = true } }) end,
    } do
      assert.has_error(call, nil, name)
    end
  end)
end)

describe("fixtures.render", function()
  it("gives the requests of a handler", function()
    local folder = script(SCRIPT, "return {}")
    local got = assert(fixtures.render(folder, {
      settings = { url = "https://example.com/in" },
      event = { type = "track", event = "E", userId = "u" },
      at = "2026-03-01T00:00:00Z",
    }))
    assert.equal("deliver", got.outcome)
    assert.equal("https://example.com/in", got.requests[1].url)
    assert.same({ name = "E", at = 1772323200000 }, got.requests[1].json)
  end)

  it("takes several events, and tells what becomes of each", function()
    local got = assert(fixtures.render(script(SCRIPT, "return {}"), {
      settings = { url = "https://example.com/in" },
      events = { { type = "track", event = "E", userId = "u" }, '{"type":"track","event":"F","userId":"u"}' },
      responses = { { status = 200 }, { status = 422 } },
    }))
    assert.equal("reject", got.outcomes[2].outcome)
    assert.equal("http_422", got.outcomes[2].reason)
    assert.equal("F", got.requests[2].json.name)
  end)

  it("says everything that is wrong with settings", function()
    local got, message = fixtures.render(script(SCRIPT, "return {}"), {
      settings = { ulr = "https://example.com/in" }, event = { type = "track", event = "E", userId = "u" },
    })
    assert.is_nil(got)
    assert.matches("settings.url: required", message, 1, true)
    assert.matches("ulr", message, 1, true)
  end)
end)

describe("fixtures.run", function()
  local FIXTURE = [[return {
    settings = { url = "https://example.com/in" },
    event = { type = "track", event = "E", userId = "u" },
    expect = { requests = { { method = "POST", url = "https://example.com/in",
      headers = { ["Content-Type"] = "application/json" }, json = { name = "%s", at = 1767225600000 } } } },
  }]]

  it("passes a fixture that holds", function()
    local results = fixtures.run(script(SCRIPT, FIXTURE:format "E"))
    assert.equal(1, #results)
    assert.is_true(results[1].passed, results[1].report)
  end)

  it("names the place where a fixture does not hold", function()
    local results = fixtures.run(script(SCRIPT, FIXTURE:format "other"))
    assert.is_false(results[1].passed)
    assert.matches('[1].json.name: expected "other", got "E"', results[1].report, 1, true)
  end)
end)
