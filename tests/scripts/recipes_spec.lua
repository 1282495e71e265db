-- The recipes of lua/README.md hold.
local fixtures = require "tidegate.fixtures"

for _, recipe in ipairs { "form-post", "json-batch", "chained-calls", "signed-requests", "oauth2", "lumio" } do
  fixtures.describe("tests/scripts/recipes/" .. recipe)
end
