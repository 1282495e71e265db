--- The fixture runner for a plain LuaJIT and busted: scripts run as in the relay, without the relay.
--
--     local fixtures = require "tidegate.fixtures"
--     fixtures.describe("./slack")                    -- in a busted file: one test for each fixture
--     local got = fixtures.render("./slack", { settings = …, event = …, responses = … })
--
-- Not for scripts: only the rock's tidegate.core has what this needs.

local core = require "tidegate.core"
local native = core.fixtures
if not native then
  error "tidegate.fixtures is for tests under plain LuaJIT: a script cannot use it"
end

local fixtures = {}

-- The folder that holds tidegate.lua: this file is tidegate/fixtures.lua in it.
local library = debug.getinfo(1, "S").source:match "^@(.*)/tidegate/fixtures%.lua$" or "."

local function as_json(value)
  if value == nil or type(value) == "string" then
    return value
  end
  return core.json.encode(value)
end

--- Runs every fixture of the script in `folder`.
-- @return a list of { path, name, passed, report, got }: `report` says what is wrong, `got` is what came out
function fixtures.run(folder)
  local results = {}
  for i, path in ipairs(native.list(folder)) do
    local passed, name, report, got = native.run(library, path)
    results[i] = {
      path = path, name = name, passed = passed, report = report, got = got and core.json.decode(got) or nil,
    }
  end
  return results
end

local function list_of(events)
  local texts = {}
  for i, event in ipairs(events) do
    texts[i] = as_json(event)
  end
  return "[" .. table.concat(texts, ",") .. "]"
end

--- What the script in `folder` makes of one event, as `tidegate try` prints it.
-- @param given settings, event, responses (tables or JSON text), at (ISO time), allow_private; or events, a list
-- @return { outcome, reason, requests }, of several events { outcomes, requests }; or nil and a message
function fixtures.render(folder, given)
  local text, message = native.render(library, folder, {
    settings = as_json(given.settings or "{}"),
    event = given.events and list_of(given.events) or as_json(given.event),
    responses = as_json(given.responses),
    at = given.at,
    allow_private = given.allow_private,
  })
  if not text then
    return nil, message
  end
  return core.json.decode(text)
end

--- Declares one busted test for each fixture of the script in `folder`.
function fixtures.describe(folder)
  local busted = require "busted"
  local paths = native.list(folder)
  busted.describe(folder, function()
    if #paths == 0 then
      busted.it("has fixtures", function()
        error("there is none in " .. folder .. "/fixtures", 0)
      end)
    end
    for _, path in ipairs(paths) do
      busted.it(path:match "[^/]*$", function()
        local passed, name, report = native.run(library, path)
        if not passed then
          error(name .. "\n" .. report, 0)
        end
      end)
    end
  end)
end

return fixtures
