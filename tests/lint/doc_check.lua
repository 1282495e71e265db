-- Compares what is documented with what is there. Run by `make doc-check`, with the rock's modules on LuaJIT's path.
--   luajit tests/lint/doc_check.lua PROGRAM
local json = require("tidegate").json
local program = assert(arg[1], "which program?")
local complaints = {}

local function complain(...)
  complaints[#complaints + 1] = string.format(...)
end

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

local function lines_of(command)
  local pipe, lines = assert(io.popen(command)), {}
  for line in pipe:lines() do
    lines[#lines + 1] = line
  end
  pipe:close()
  return lines
end

local function output(command)
  return table.concat(lines_of(command), "\n") .. "\n"
end

-- Every name for which `has(name)` is false is told. names: a set.
local function compare(names, has, format)
  for name in pairs(names) do
    if not has(name) then
      complain(format, name)
    end
  end
end

local function member(set)
  return function(name)
    return set[name]
  end
end

-- The words of a C array of texts: static const char *const NAME[] = {"a", "b"};
local function c_words(file, name)
  local body = assert(read(file):match(name .. "%[%]%s*=%s*(%b{})"), file .. " has no " .. name)
  local words = {}
  for word in body:gmatch '"([^"]*)"' do
    words[word] = true
  end
  return words
end

-- --- options: each is in the printed example, with a line of help above it ---
local function options()
  local example = output(program .. " config --example")
  local source = read "src/config/options.c"
  local n = 0
  for name in source:gmatch '\n    {"([%w_]+)", TG_OPT_' do
    n = n + 1
    local shown = example:find("\n%s*%-%- [^\n]+\n%s*[%-%s]*" .. name .. " = ")
    if not shown and not example:find("\n%s*%-%- [^\n]*%f[%w_]" .. name .. "%f[^%w_]") then
      complain("option %s: tidegate config --example neither shows it with a line of help nor tells of it", name)
    end
  end
  assert(n > 30, "options.c is not read rightly")
end

-- --- metrics: a table in a README of src/ for each, and no others ---
local function metrics()
  local made, told = {}, {}
  for _, file in ipairs(lines_of "ls src/*/*.[ch]") do
    for name in read(file):gmatch '"(tidegate_[%l_]+)"' do
      made[name] = true
    end
  end
  for _, file in ipairs(lines_of "ls src/*/README.md README.md") do
    local text = read(file)
    for name in text:gmatch "tidegate_[%l_]+" do
      if not made[name] then
        complain("%s: there is no metric %s", file, name)
      end
    end
    for row in text:gmatch "\n(| `tidegate_[^\n]*)" do
      local last
      for span in row:match("^| ([^|]*)"):gmatch "`([^`]*)`" do
        local name = span:sub(1, 1) == "_" and last:gsub("_sum$", "") .. span or span
        told[name], last = true, name
      end
    end
  end
  compare(made, member(told), "metric %s: no table of a README in src/ has it")
end

-- --- commands: the README has each ---
local function commands()
  local text = read "README.md" .. read "src/daemon/README.md"
  for name in read("src/daemon/main.c"):gmatch '\n    {"(%l+)",' do
    if not (text:find("tidegate " .. name, 1, true) or text:find("`" .. name .. "[ `]")) then
      complain("command %s: neither README.md nor src/daemon/README.md names it", name)
    end
  end
end

-- --- primitives: lua/README.md and types.lua have those of require "tidegate", and no others ---
local RUNNER_ONLY = { fixed = true, fixtures = true }

local function primitives()
  local found = {}
  for name, value in pairs(require "tidegate") do
    if type(value) == "table" and not RUNNER_ONLY[name] then
      for sub in pairs(value) do
        found[name .. "." .. sub] = true
      end
    elseif not RUNNER_ONLY[name] then
      found[name] = true
    end
  end
  return found
end

-- Names in the first column of the tables under "## Primitives": `a.b(x)`, `a.b/c(x)`, `a { … }`, `a.b`.
local function documented()
  local found = {}
  local section = read("lua/README.md"):match "\n## Primitives.-\n## Modules"
  for row in section:gmatch "\n(| `[^\n]*)" do
    for span in row:match("^| ([^|]*)"):gmatch "`([^`]*)`" do
      local stem, alternatives = span:match "^([%w_%.:]+)/([%w_/]+)"
      local name = span:match "^[%w_%.:]+"
      if stem then
        found[stem] = true
        for other in alternatives:gmatch "[%w_]+" do
          found[stem:match "^(.*%.)" .. other] = true
        end
      elseif name and (span == name or span:find("^[%w_%.]+%s*[%({]")) then
        found[name] = true
      end
    end
  end
  return found
end

local function annotated(text)
  local found = {}
  for name in text:gmatch "\nfunction tidegate%.([%w_%.]+)%(" do
    found[name] = true
  end
  for name in text:gmatch "\ntidegate%.([%w_]+%.[%w_]+) = " do
    found[name] = true
  end
  return found
end

local function lua_page()
  local there, page = primitives(), documented()
  assert(there.deliver and there["json.decode"] and there.oauth2, "require \"tidegate\" is not read rightly")
  local fields = c_words("src/script/request.c", "fields") -- rows of deliver's own table
  compare(there, member(page), "primitive %s: lua/README.md has no row for it under Primitives")
  compare(page, function(name)
    return there[name] or fields[name] or name:find "^handle:"
  end, "lua/README.md: there is no primitive %s")
  local types = annotated(read "lua/tidegate/types.lua")
  compare(there, member(types), "primitive %s: lua/tidegate/types.lua does not have it")
  compare(types, member(there), "lua/tidegate/types.lua: there is no primitive %s")
end

-- --- keys of tables that scripts write ---
local function keys()
  local types, page = "\n" .. read "lua/tidegate/types.lua", read "lua/README.md"
  for _, list in ipairs {
    { "Destination", "src/script/load.c", "contract_keys" }, { "Rate", "src/script/load.c", "rate_keys" },
    { "Batch", "src/script/load.c", "batch_keys" }, { "Request", "src/script/request.c", "fields" },
    { "Joined", "src/script/request.c", "known" }, { "Setting", "src/script/schema.c", "known" },
    { "Row", "src/script/rows.c", "row_keys" }, { "Fixture", "src/script/fixture.c", "known" },
  } do
    local class, words, annotations = list[1], c_words(list[2], list[3]), {}
    local block = assert(types:match("\n%-%-%-@class tidegate%." .. class .. "[^\n]*\n(.-)\n\n"), class)
    for name in block:gmatch "%-%-%-@field ([%w_]+)" do
      annotations[name] = true
    end
    compare(words, member(annotations), "types.lua: tidegate." .. class .. " lacks %s")
    compare(annotations, member(words), "types.lua: tidegate." .. class .. " has %s, which the code does not take")
    compare(words, function(name)
      return page:find("%f[%w_]" .. name .. "%f[^%w_]")
    end, "lua/README.md does not name %s of tidegate." .. class)
  end
end

-- --- recipes: each piece of code stands in one of the scripts that are tested ---
local function recipes()
  local scripts, n = "", 0
  for _, file in ipairs(lines_of "ls tests/scripts/recipes/*/init.lua") do
    scripts = scripts .. read(file)
  end
  for code in read("lua/README.md"):match("\n## Recipes\n(.-)\n## "):gmatch "```lua\n(.-)```" do
    n = n + 1
    if not scripts:find(code, 1, true) then
      complain("lua/README.md: this code under Recipes is in no script of tests/scripts/recipes:\n%s", code)
    end
  end
  for code in read("lua/README.md"):match("\n## Tutorial.*$"):gmatch "```lua\n(.-) *```" do
    n = n + 1
    code = ("\n" .. code):gsub("\n   ", "\n"):sub(2)
    if code:find "^local" and not scripts:find(code, 1, true) then
      complain("lua/README.md: this code under Tutorial is in no script of tests/scripts/recipes:\n%s", code)
    end
  end
  assert(n >= 7, "the recipes are not read rightly")
end

-- --- settings: the README of each script has its schema's keys with required and type ---
local function check_row(script, name, setting, row)
  local required, kind = row.text:match "^|[^|]*|[^|]*| ([^|]*)|", row.kind
  if not required or not kind then
    complain("destinations/%s/README.md: %s: the row has not five columns", script, name)
    return
  end
  local type_told = kind:match "^%s*([%w%-]+)"
  if type_told ~= setting.type then
    complain("destinations/%s/README.md: %s is %s, not %s", script, name, setting.type, tostring(type_told))
  end
  if (setting.secret == true) ~= (kind:find "secret" ~= nil) then
    complain("destinations/%s/README.md: %s: secret or not?", script, name)
  end
  if setting.required == true and not required:find "yes" then
    complain("destinations/%s/README.md: %s is required", script, name)
  elseif not setting.required and required:find "^%s*yes%s*$" then
    complain("destinations/%s/README.md: %s is not required", script, name)
  end
end

local function settings()
  for _, folder in ipairs(lines_of "ls -d destinations/*/") do
    local script = folder:match "([^/]+)/$"
    local contract = json.decode(output(program .. " describe " .. script))
    local section = read(folder .. "README.md"):match "\n## Settings\n(.-)\n## " or ""
    local rows = {}
    for row in ("\n" .. section):gmatch "\n(| `[^\n]*)" do
      local names, types, n = row:match "^| ([^|]*)", {}, 0
      for kind in (row:match "^|[^|]*|[^|]*|[^|]*| ([^|]*)|" or ""):gmatch "[^;]+" do
        types[#types + 1] = kind -- "string; string, secret": one for each name
      end
      for name in names:gmatch "`([^`]*)`" do
        n = n + 1
        rows[name] = { text = row, kind = types[n] or types[#types] }
      end
    end
    for name, setting in pairs(contract.settings or {}) do
      if rows[name] then
        check_row(script, name, setting, rows[name])
      else
        complain("destinations/%s/README.md: the table under Settings has no row for %s", script, name)
      end
    end
    compare(rows, function(name)
      return contract.settings[name]
    end, "destinations/" .. script .. "/README.md: there is no setting %s")
  end
end

-- --- the rockspec lists every module by name ---
local function rockspec()
  local text = read "rockspec/tidegate-scm-1.rockspec"
  for _, file in ipairs(lines_of "ls src/base/*.c src/script/*.c lua/tidegate.lua lua/tidegate/*.lua") do
    -- Threads of libevent; for editors only.
    local left_out = file == "src/base/helper.c" or file == "lua/tidegate/types.lua"
    if not left_out and not text:find('"' .. file .. '"', 1, true) then
      complain("rockspec: %s is not listed", file)
    end
  end
end

options()
metrics()
commands()
lua_page()
keys()
recipes()
settings()
rockspec()
table.sort(complaints)
for _, line in ipairs(complaints) do
  io.stderr:write(line, "\n")
end
os.exit(#complaints == 0 and 0 or 1)
