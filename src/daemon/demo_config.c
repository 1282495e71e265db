#include "daemon/demo_config.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/url.h"
#include "script/fixture.h"
#include "script/folders.h"
#include "script/host.h"

#include <stdio.h>

enum { MAX_TEXT = 1024 * 1024 };

/* --- JSON as Lua text --- */

/* A Lua string: every byte that is not plain ASCII as a decimal escape. */
static int add_lua_string(struct tg_buf *out, struct tg_str text)
{
    int rc = tg_buf_addc(out, '"');
    for (size_t i = 0; !rc && i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        rc = c < ' ' || c > '~' || c == '"' || c == '\\' ? tg_buf_printf(out, "\\%03u", c)
                                                         : tg_buf_addc(out, (char)c);
    }
    return rc ? rc : tg_buf_addc(out, '"');
}

static int add_lua_json_string(struct tg_buf *out, struct tg_str json)
{
    struct tg_buf text = TG_BUF_INIT(MAX_TEXT);
    int rc = tg_json_text(json, &text);
    if (!rc)
        rc = add_lua_string(out, tg_buf_str(&text));
    tg_buf_fini(&text);
    return rc;
}

static int add_lua(struct tg_buf *out, struct tg_str json)
{
    enum tg_json_type type = tg_json_type(json);
    if (type == TG_JSON_NULL)
        return tg_buf_adds(out, "nil");
    if (type == TG_JSON_STRING)
        return add_lua_json_string(out, json);
    if (type != TG_JSON_OBJECT && type != TG_JSON_ARRAY)
        return tg_buf_addstr(out, json);
    int rc = tg_buf_addc(out, '{');
    struct tg_json_walk w = tg_json_walk(json);
    while (!rc && tg_json_next(&w)) {
        if (w.key.n) {
            rc = tg_buf_addc(out, '[');
            if (!rc)
                rc = add_lua_json_string(out, w.key);
            if (!rc)
                rc = tg_buf_adds(out, "] = ");
        }
        if (!rc)
            rc = add_lua(out, w.value);
        if (!rc)
            rc = tg_buf_adds(out, ", ");
    }
    return rc ? rc : tg_buf_addc(out, '}');
}

/* --- settings: addresses of the partner become the stand-in's --- */

static bool is_url(struct tg_str schema)
{
    return tg_str_is(tg_json_get(schema, "type"), "\"url\"");
}

static int add_replaced_url(struct tg_buf *out, struct tg_str json, const char *origin)
{
    struct tg_buf text = TG_BUF_INIT(MAX_TEXT);
    struct tg_url url;
    int rc = tg_json_text(json, &text);
    if (!rc && tg_url_parse(tg_buf_str(&text), &url, NULL) == TG_OK) {
        struct tg_buf replaced = TG_BUF_INIT(MAX_TEXT);
        rc = tg_buf_printf(&replaced, "%s%.*s%s%.*s", origin, TG_STR_ARG(url.path), url.query.n ? "?" : "",
                           TG_STR_ARG(url.query));
        if (!rc)
            rc = add_lua_string(out, tg_buf_str(&replaced));
        tg_buf_fini(&replaced);
    } else if (!rc) {
        rc = add_lua_string(out, tg_buf_str(&text)); /* empty, or no URL at all: as it is */
    }
    tg_buf_fini(&text);
    return rc;
}

static int add_setting(struct tg_buf *out, struct tg_str key, struct tg_str value, bool url,
                       const char *origin)
{
    int rc = tg_buf_adds(out, "[");
    if (!rc)
        rc = add_lua_json_string(out, key);
    if (!rc)
        rc = tg_buf_adds(out, "] = ");
    if (!rc)
        rc = url && tg_json_type(value) == TG_JSON_STRING ? add_replaced_url(out, value, origin)
                                                          : add_lua(out, value);
    return rc ? rc : tg_buf_adds(out, ", ");
}

/* The sample's settings, and the defaults of those that are addresses. `schema`: {key: {type, default, …}} */
static int add_settings(struct tg_buf *out, struct tg_str settings, struct tg_str schema, const char *origin)
{
    int rc = tg_buf_adds(out, "{ ");
    struct tg_json_walk w = tg_json_walk(settings), s = tg_json_walk(schema);
    while (!rc && tg_json_next(&w)) {
        bool url = false;
        for (s = tg_json_walk(schema); tg_json_next(&s);)
            url |= tg_str_eq(s.key, w.key) && is_url(s.value);
        rc = add_setting(out, w.key, w.value, url, origin);
    }
    for (s = tg_json_walk(schema); !rc && tg_json_next(&s);) {
        bool given = false;
        for (w = tg_json_walk(settings); tg_json_next(&w);)
            given |= tg_str_eq(w.key, s.key);
        struct tg_str def = tg_json_get(s.value, "default");
        if (!given && def.n && is_url(s.value))
            rc = add_setting(out, s.key, def, true, origin);
    }
    return rc ? rc : tg_buf_adds(out, "}");
}

/* --- samples --- */

static int describe(struct tg_host *host, const char *script, struct tg_str settings, struct tg_buf *json,
                    struct tg_err *err)
{
    struct tg_script_source source;
    struct tg_problems problems;
    struct tg_dest *dest = NULL;
    int rc = tg_script_source_find(NULL, 0, script, &source, err);
    if (rc)
        return rc;
    const struct tg_dest_spec spec = {script, "settings", settings, &source, NULL, NULL};
    tg_problems_init(&problems);
    rc = tg_dest_load(host, &spec, &dest, &problems);
    if (rc)
        rc = tg_fail(err, rc, "its sample does not fit its settings: %s",
                     problems.n ? problems.items[0].reason : "?");
    else
        rc = tg_dest_describe(dest, json);
    tg_dest_free(&dest);
    tg_problems_fini(&problems);
    tg_script_source_free(&source);
    return rc;
}

static int fill_item(struct tg_host *host, struct tg_demo_item *item, const char *folder, const char *origin,
                     struct tg_err *err)
{
    char path[4096 + 32];
    struct tg_fixture fixture;
    (void)snprintf(path, sizeof path, "%s/fixtures/sample.lua", folder);
    int rc = tg_fixture_load(path, &fixture, err);
    if (rc)
        return rc;
    struct tg_buf contract = TG_BUF_INIT(MAX_TEXT), text = TG_BUF_INIT(MAX_TEXT);
    struct tg_str json = {NULL, 0}, settings = tg_str_of(fixture.settings);
    rc = describe(host, item->script, settings, &contract, err);
    if (!rc)
        rc = tg_json_validate(tg_buf_str(&contract), TG_JSON_MAX_DEPTH, &json, err);
    if (!rc)
        rc = add_settings(&text, settings, tg_json_get(json, "settings"), origin);
    if (!rc) {
        item->settings = tg_buf_take(&text, NULL);
        item->event = tg_strdup(fixture.event);
        if (!item->settings || !item->event)
            rc = tg_fail(err, TG_NOMEM, "out of memory");
    }
    tg_buf_fini(&contract);
    tg_buf_fini(&text);
    tg_fixture_fini(&fixture);
    return rc;
}

static int collect_one(struct tg_host *host, struct tg_demo *demo, char *script, const char *port,
                       struct tg_err *err)
{
    char folder[4096], origin[256];
    struct tg_demo_item *item = &demo->items[demo->n];
    *item = (struct tg_demo_item){.script = script};
    (void)snprintf(origin, sizeof origin, "http://%s.localhost:%s", script, port);
    int rc = tg_script_folder(NULL, 0, script, folder, sizeof folder, err);
    if (!rc)
        rc = fill_item(host, item, folder, origin, err);
    if (!rc) {
        demo->n++;
        return TG_OK;
    }
    if (rc != TG_NOTFOUND)
        return tg_err_prefix(err, "script %s", script);
    tg_free(script);
    *item = (struct tg_demo_item){0};
    return TG_OK;
}

static int open_host(struct tg_script_source *library, struct tg_host **host, struct tg_err *err)
{
    int rc = tg_script_library_find(NULL, library, err);
    if (rc)
        return rc;
    const struct tg_host_options options = {
        .allow_private = true, .library = *library, .fixed_now = TG_NO_TIME};
    rc = tg_host_new(&options, host, err);
    if (rc)
        tg_script_source_free(library);
    return rc;
}

int tg_demo_collect(const char *catcher, struct tg_demo *demo, struct tg_err *err)
{
    struct tg_host *host = NULL;
    struct tg_script_source library;
    char **names = NULL;
    size_t n = 0, i = 0;
    *demo = (struct tg_demo){0};
    int rc = open_host(&library, &host, err);
    if (rc)
        return rc;
    rc = tg_script_names(NULL, 0, &names, &n, err);
    if (!rc) {
        demo->items = tg_calloc(n, sizeof *demo->items);
        rc = demo->items ? TG_OK : tg_fail(err, TG_NOMEM, "out of memory");
    }
    for (; !rc && i < n; i++)
        rc = collect_one(host, demo, names[i], strrchr(catcher, ':') + 1, err);
    for (; i < n; i++)
        tg_free(names[i]);
    tg_free(names);
    tg_host_free(&host);
    tg_script_source_free(&library);
    if (rc)
        tg_demo_fini(demo);
    return rc;
}

void tg_demo_fini(struct tg_demo *demo)
{
    for (size_t i = 0; demo->items && i < demo->n; i++) {
        tg_free(demo->items[i].script);
        tg_free(demo->items[i].event);
        tg_free(demo->items[i].settings);
    }
    tg_free(demo->items);
    *demo = (struct tg_demo){0};
}

int tg_demo_config(const struct tg_demo *demo, const char *listen, const char *admin, const char *spool,
                   struct tg_buf *out)
{
    int rc = tg_buf_printf(
        out,
        "-- Written by tidegate demo: every partner's address is the stand-in's on loopback.\n"
        "return {\n  listen = { \"%s\" },\n  admin = \"%s\",\n  workers = 1,\n"
        "  egress = { allow_private = true },\n  log = { level = \"warn\" },\n  spool = { path = ",
        listen, admin);
    if (!rc)
        rc = add_lua_string(out, tg_str_of(spool));
    if (!rc)
        rc = tg_buf_adds(out, " },\n  sources = {\n    { name = \"demo\", write_key = \"demo\" },\n");
    for (size_t i = 0; !rc && i < demo->n; i++)
        rc = tg_buf_printf(out, "    { name = \"demo-%s\", write_key = \"demo-%s\" },\n",
                           demo->items[i].script, demo->items[i].script);
    if (!rc)
        rc = tg_buf_adds(out, "  },\n  destinations = {\n");
    for (size_t i = 0; !rc && i < demo->n; i++)
        rc = tg_buf_printf(out, "    %s = { sources = { \"demo\", \"demo-%s\" }, settings = %s },\n",
                           demo->items[i].script, demo->items[i].script, demo->items[i].settings);
    return rc ? rc : tg_buf_adds(out, "  },\n}\n");
}
