-- Compares what is documented with what is there. Run by `make doc-check`, with the rock's modules on LuaJIT's path.
--   luajit tests/lint/doc_check.lua PROGRAM [--write]
-- With --write, the tables that are made from code are written where they differ.
local tidegate = require "tidegate"
local json, decode = tidegate.json, tidegate.url.decode
local program, writing = assert(arg[1], "which program?"), arg[2] == "--write"
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

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
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

-- --- options of commands: `tidegate COMMAND --help` lists each that the command takes, and no others ---
local SEVERAL = { -- files of more than one command, or of none
  ["src/daemon/cmd_control.c"] = { "status", "reload", "stop", "pause", "resume" },
  ["src/daemon/cmd_check.c"] = { "check", "config" },
}

local function command_options()
  local source, n = read "src/daemon/cli.c", 0
  local shared = {
    tg_cli_where = source:match "\nbool tg_cli_where%(.-\n}",
    tg_cli_config_path = source:match "\nconst char %*tg_cli_config_path%(.-\n}",
    tg_script_paths_take = read "src/daemon/script_paths.c",
  }
  for _, file in ipairs(lines_of "ls src/daemon/cmd_*.c") do
    local text, taken = read(file), {}
    for word, part in pairs(shared) do
      text = text:find(word, 1, true) and text .. part or text
    end
    for name in text:gmatch 'tg_cli_%l+%([^)"]*"?%-?%w*"?,? ?"(%-%-[%l%-]+)"' do
      taken[name], n = true, n + 1
    end
    local told = ""
    for _, command in ipairs(SEVERAL[file] or { file:match "cmd_(%l+)%.c" }) do
      told = told .. output(program .. " " .. command .. " --help")
    end
    if file ~= "src/daemon/cmd_dead.c" then -- it hands them on
      compare(taken, function(name)
        return told:find("\n  [^\n]-%f[%-]" .. name:gsub("%-", "%%-") .. "%f[^%l%-]")
      end, file .. ": takes %s, which --help of its command does not list")
    end
    for line in told:gmatch "\n  ([^\n]+)" do
      local name = line:match "^%-%-[%l%-]+" or line:match "^%-%a, (%-%-[%l%-]+)"
      if name and file ~= "src/daemon/cmd_dead.c" and not taken[name] then
        complain("%s: --help lists %s, which the command does not take", file, name)
      end
    end
  end
  assert(n > 30, "the commands' options are not read rightly")
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
  local fields = c_words("src/script/request_build.c", "fields") -- rows of deliver's own table
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
    { "Destination", "src/script/contract_read.c", "contract_keys" },
    { "Rate", "src/script/contract_rates.c", "rate_keys" }, { "Batch", "src/script/contract_batches.c", "batch_keys" },
    { "Request", "src/script/request_build.c", "fields" }, { "Joined", "src/script/request_build.c", "known" },
    { "Setting", "src/script/schema.c", "known" },
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

-- --- READMEs of the scripts ---------------------------------------------------------------------------------------

local function scripts()
  local names = {}
  for _, folder in ipairs(lines_of "ls -d destinations/*/") do
    names[#names + 1] = folder:match "([^/]+)/$"
  end
  return names
end

local function section(text, title)
  return (text .. "\n## "):match("\n## " .. title .. "\n(.-)\n## ")
end

-- What every README tells, in this order.
local SECTIONS = {
  "Accepts", "Settings", "How events map", "Limits", "Assumed, not confirmed", "One event and its request",
}

local function sections()
  for _, script in ipairs(scripts()) do
    local text, at = read("destinations/" .. script .. "/README.md"), 1
    for _, title in ipairs(SECTIONS) do
      local found = text:find("\n## " .. title .. "\n", at, true)
      if not found then
        complain("destinations/%s/README.md: no section \"## %s\", or not in its place", script, title)
      end
      at = found or at
    end
  end
end

-- The table under Settings is made from the script's schema. Two things are the README's own: the order of the rows,
-- and under which condition a setting is required that the schema leaves free.

local function code(text)
  return "`" .. text .. "`"
end

local function default_of(setting)
  local value = setting.default
  if value == nil then
    return ""
  elseif type(value) ~= "table" then
    return code(value == "" and '""' or tostring(value))
  end
  local pairs_of, names = {}, {}
  for name in pairs(value) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    pairs_of[#pairs_of + 1] = setting.type == "array" and code(value[name]) or code(name) .. " = " .. code(value[name])
  end
  return #pairs_of > 0 and table.concat(pairs_of, ", ") or code(setting.type == "array" and "[]" or "{}")
end

local function type_of(setting)
  local words = { setting.type }
  if setting.values then
    words[1] = "enum: " .. code(table.concat(setting.values, "`, `"))
  elseif setting.min or setting.max then
    words[1] = ("%s, %s to %s"):format(setting.type, setting.min or "", setting.max or "")
  end
  words[#words + 1] = setting.secret and "secret" or nil
  return table.concat(words, ", ")
end

-- Names in the order of the rows, and what the rows say of "required".
local function rows_of(table_text)
  local order, required = {}, {}
  for row in ("\n" .. table_text):gmatch "\n(| `[^\n]*)" do
    for name in row:match("^| ([^|]*)"):gmatch "`([^`]*)`" do
      order[#order + 1] = name
      required[name] = row:match "^|[^|]*|[^|]*| *([^|]-) *|"
    end
  end
  return order, required
end

local function settings_table(script, present)
  local schema = json.decode(output(program .. " describe " .. script)).settings or {}
  local order, required = rows_of(present)
  local names, known = {}, {}
  for _, name in ipairs(order) do
    if schema[name] and not known[name] then
      names[#names + 1], known[name] = name, true
    end
  end
  local new = {}
  for name in pairs(schema) do
    new[#new + 1] = not known[name] and name or nil
  end
  table.sort(new)
  local lines = { "| Field | Description | Required | Type | Default |", "| --- | --- | --- | --- | --- |" }
  for _, list in ipairs { names, new } do
    for _, name in ipairs(list) do
      local setting = schema[name]
      local condition = required[name] and required[name] ~= "yes" and required[name] or "no"
      lines[#lines + 1] = ("| %s | %s | %s | %s | %s |"):format(code(name), (setting.help or ""):gsub("|", "\\|"),
        setting.required and "yes" or condition, type_of(setting), default_of(setting)):gsub("  |", " |")
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

local function settings()
  for _, script in ipairs(scripts()) do
    local path = "destinations/" .. script .. "/README.md"
    local text = read(path)
    local first, last = text:find("| Field | [^\n]*\n| %-[^\n]*\n", (text:find("\n## Settings\n", 1, true)))
    if not first then
      complain("%s: no table under Settings that begins | Field | Description | …", path)
    else
      while text:find("^|[^\n]*\n", last + 1) do
        last = select(2, text:find("^|[^\n]*\n", last + 1))
      end
      local made = settings_table(script, text:sub(first, last))
      if writing and made ~= text:sub(first, last) then
        write(path, text:sub(1, first - 1) .. made .. text:sub(last + 1))
      elseif made ~= text:sub(first, last) then
        complain("%s: the table under Settings is not that of the script; `make readme-tables` writes it", path)
      end
    end
  end
end

-- The example is that of fixtures/readme.lua, which is tested: its event and its requests, with … for what need not be
-- shown. Requests are parted by an empty line before the next method.

local function alike(shown, real)
  if type(shown) ~= "table" or type(real) ~= "table" then
    if type(shown) == "string" and shown:find("…", 1, true) and type(real) == "string" then
      local pattern = "^" .. shown:gsub("[%^%$%(%)%%%.%[%]%*%+%-%?]", "%%%0"):gsub("…", ".-") .. "$"
      return real:find(pattern) ~= nil
    end
    return json.encode(shown) == json.encode(real)
  end
  for key, value in pairs(real) do
    if not alike(shown[key], value) then
      return false
    end
  end
  for key in pairs(shown) do
    if real[key] == nil then
      return false
    end
  end
  return json.is_array(shown) == json.is_array(real)
end

local function plain(text) -- pairs of a query or form
  local found = {}
  for name, value in text:gsub("%s+", ""):gmatch "([^&=]+)=([^&]*)" do
    found[decode(name)] = decode(value)
  end
  return found
end

-- A request as the README shows it, in the form of a fixture's.
local function parse_request(text, like)
  local head, body = (text .. "\n\n"):match "^(.-)\n\n(.*)$"
  local first = head:match "^[^\n]*\n?" .. (head:match "^[^\n]*\n(%s+.-)\n%S" or head:match "^[^\n]*\n(%s+.*)$" or "")
  local method, url = first:gsub("\n%s*", ""):match "^(%u+) (%S+)"
  local request = { method = method, url = url and url:match "^[^?]*", headers = {}, batch = like.batch }
  request.query = url and url:find("?", 1, true) and plain(url:match "%?(.*)$") or nil
  for name, value in head:gmatch "\n([%w-]+): ([^\n]*)" do
    request.headers[name] = value
  end
  request.headers = next(request.headers) and request.headers or like.headers and {} or nil
  body = body:match "^%s*(.-)%s*$"
  if like.form then
    request.form = plain(body)
  elseif like.json then
    request.json = json.try_decode(body) or body
  elseif like.body then
    request.body = json.try_decode(body) or body
    like.body = json.try_decode(like.body) or like.body
  end
  return request
end

local function check_example(script, event, requests, fixture)
  local where = "destinations/" .. script .. "/README.md: One event and its request: "
  local real = type(fixture.event) == "string" and json.decode(fixture.event) or fixture.event
  if not alike(json.try_decode(event) or event, real) then
    complain(where .. "the event is not that of fixtures/readme.lua")
  end
  local expect = type(fixture.expect) == "string" and json.decode(fixture.expect) or fixture.expect
  local n = 0
  for text in ("\n" .. requests):gsub("\n(%u+ https?://)", "\0%1"):gmatch "%z([^%z]*)" do
    n = n + 1
    local like = expect.requests[n] or {}
    if not alike(parse_request(text, like), like) then
      complain(where .. "request %d is not that of fixtures/readme.lua", n)
    end
  end
  if n ~= #expect.requests then
    complain(where .. "%d requests are shown, fixtures/readme.lua expects %d", n, #expect.requests)
  end
end

local function examples()
  for _, script in ipairs(scripts()) do
    local text = section(read("destinations/" .. script .. "/README.md"), "One event and its request") or ""
    local event, requests = text:match "```json\n(.-)```.-\n```\n(.-)```"
    local chunk = loadfile("destinations/" .. script .. "/fixtures/readme.lua")
    if not event then
      complain("destinations/%s/README.md: One event and its request: ```json and ``` blocks are wanted", script)
    elseif not chunk then
      complain("destinations/%s/fixtures/readme.lua: missing; it proves the example of the README", script)
    else
      check_example(script, event, requests, chunk())
    end
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
command_options()
lua_page()
keys()
recipes()
sections()
settings()
examples()
rockspec()
table.sort(complaints)
for _, line in ipairs(complaints) do
  io.stderr:write(line, "\n")
end
os.exit(#complaints == 0 and 0 or 1)
