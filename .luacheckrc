std = "luajit"
max_line_length = 120
-- Fixtures hold whole requests, one text each.
files["destinations/*/fixtures"] = { max_line_length = false }
files["lua/template/fixtures"] = { max_line_length = false }
