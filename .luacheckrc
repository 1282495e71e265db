std = "luajit"
max_line_length = 120
-- Fixtures hold whole requests, one text each.
files["destinations/*/fixtures"] = { max_line_length = false }
files["lua/template/fixtures"] = { max_line_length = false }
-- Annotations for editors: nothing of it runs.
files["lua/tidegate/types.lua"] = { ignore = { "212", "211", "241" }, max_line_length = false }
files["tests/scripts/recipes/*/fixtures"] = { max_line_length = false }
