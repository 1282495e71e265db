-- Fixtures of the shipped scripts, run under plain LuaJIT by the module that the rockspec builds.
local fixtures = require "tidegate.fixtures"

local folders = {}
for folder in io.popen("ls -d destinations/*/"):lines() do
  folders[#folders + 1] = folder:gsub("/$", "")
end
assert(#folders >= 7, "run this where destinations/ is")
for _, folder in ipairs(folders) do
  fixtures.describe(folder)
end
