-- The primitives and the fixture runner for authors of scripts, without the relay. On Debian:
--   apt-get install luarocks lua-cjson lua-busted luajit libluajit-5.1-dev libssl-dev zlib1g-dev
--   luarocks --lua-version 5.1 make --local --deps-mode none rockspec/tidegate-scm-1.rockspec \
--     LUA_INCDIR=/usr/include/luajit-2.1
rockspec_format = "3.0"
package = "tidegate"
version = "scm-1"
source = {
  url = "git://example.invalid/tidegate.git",
}
description = {
  summary = "Write and test destination scripts of the tidegate relay under plain LuaJIT",
  detailed = [[
    The relay's own bindings as a Lua module, with `require "tidegate"` as scripts see it, and its fixture runner:
    `require "tidegate.fixtures"`.
  ]],
  license = "MIT",
}
dependencies = {
  "lua == 5.1", -- LuaJIT 2.1
  "lua-cjson",
}
external_dependencies = {
  CRYPTO = { header = "openssl/evp.h" },
  ZLIB = { header = "zlib.h" },
}
build = {
  type = "builtin",
  modules = {
    ["tidegate.core"] = {
      sources = {
        "rockspec/core.c",
        "src/base/buf.c", "src/base/clock.c", "src/base/digest.c", "src/base/err.c", "src/base/event.c", "src/base/event_filter.c",
        "src/base/file.c", "src/base/gzip.c", "src/base/ip.c", "src/base/json_find.c", "src/base/json_number.c",
        "src/base/json_quick.c", "src/base/json_quote.c", "src/base/json_skip.c", "src/base/json_text.c", "src/base/json_utf8.c",
        "src/base/json_validate.c", "src/base/json_walk.c",
        "src/base/log.c", "src/base/mask.c", "src/base/mem.c", "src/base/metrics.c", "src/base/problems.c",
        "src/base/time.c", "src/base/url.c",
        "src/script/answers.c", "src/script/api.c", "src/script/args.c", "src/script/batch.c", "src/script/cache.c",
        "src/script/check.c", "src/script/contract.c", "src/script/contract_batches.c", "src/script/contract_fields.c",
        "src/script/contract_hosts.c", "src/script/contract_rates.c", "src/script/contract_read.c",
        "src/script/convert.c", "src/script/coroutine.c", "src/script/coverage.c", "src/script/describe.c",
        "src/script/dest.c", "src/script/event_view.c", "src/script/fill.c", "src/script/filter.c",
        "src/script/filter_source.c", "src/script/fixed.c", "src/script/fixture.c", "src/script/form.c",
        "src/script/folders.c", "src/script/guard.c", "src/script/handler.c", "src/script/heap.c", "src/script/host.c",
        "src/script/json_exact.c", "src/script/json_order.c", "src/script/json_read.c", "src/script/json_shape.c",
        "src/script/json_state.c", "src/script/json_write.c", "src/script/lib_cache.c", "src/script/lib_digest.c",
        "src/script/lib_event.c", "src/script/lib_json.c", "src/script/lib_time.c", "src/script/lib_url.c",
        "src/script/lib_wsse.c", "src/script/link.c", "src/script/map.c", "src/script/modules.c", "src/script/names.c",
        "src/script/nearest.c", "src/script/open_state.c", "src/script/paths.c", "src/script/raised.c",
        "src/script/rebuild.c", "src/script/render.c", "src/script/render_many.c", "src/script/render_show.c",
        "src/script/request.c", "src/script/request_body.c", "src/script/request_build.c",
        "src/script/request_headers.c", "src/script/request_url.c", "src/script/response.c", "src/script/rows.c",
        "src/script/run.c", "src/script/sandbox.c", "src/script/scalar.c", "src/script/schema.c", "src/script/source.c",
        "src/script/state.c", "src/script/tokens.c", "src/script/unwind.c",
        "src/script/verdict.c",
        "src/ingest/arena.c", "src/ingest/envelope.c", "src/ingest/item.c", "src/ingest/item_fields.c", "src/ingest/item_values.c",
        "src/ingest/items.c", "src/ingest/normalise.c", "src/ingest/overlay.c", "src/ingest/request.c", "src/ingest/set_aside.c",
        "src/daemon/fixture_run.c",
        "src/daemon/json_diff.c", "src/daemon/mutate.c", "src/daemon/preview.c",
      },
      incdirs = { "src", "$(LUA_INCDIR)", "$(CRYPTO_INCDIR)", "$(ZLIB_INCDIR)" },
      libdirs = { "$(CRYPTO_LIBDIR)", "$(ZLIB_LIBDIR)" },
      libraries = { "crypto", "z", "m", "pthread" },
      defines = {
        "_GNU_SOURCE", 'TG_VERSION="scm"', 'TG_PREFIX="/usr/local"', 'TG_SOURCE_DIR="."',
      },
    },
    ["tidegate"] = "lua/tidegate.lua",
    ["tidegate.address"] = "lua/tidegate/address.lua",
    ["tidegate.answer"] = "lua/tidegate/answer.lua",
    ["tidegate.country"] = "lua/tidegate/country.lua",
    ["tidegate.fixtures"] = "lua/tidegate/fixtures.lua",
    ["tidegate.forward"] = "lua/tidegate/forward.lua",
    ["tidegate.tables"] = "lua/tidegate/tables.lua",
    ["tidegate.text"] = "lua/tidegate/text.lua",
  },
}
test = {
  type = "command",
  command = "busted --lua=luajit tests/scripts",
}
