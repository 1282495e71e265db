/* A path is cut into segments and its vendor's prefix is taken off; what remains is looked up in one table.
 * Prefixes and endings multiply, names do not:
 *
 *     [/v1] NAME                     Segment, RudderStack; without /v1 when a person set apiHost without it
 *     [/v1] batch/b                  React Native puts its own ending behind a proxy URL; likewise NAME/SHORT
 *     [/v1] pixel/NAME, /pixel/v1/NAME, /api/px/NAME        GET
 *     /beacon/v1/batch, /api/s/[s2s/]NAME                   RudderStack's beacon, Jitsu
 *     [/v1] [projects/] projects/KEY/settings, /sourceConfig, /health
 *     /analytics.js/v1/KEY/analytics.min.js                 what a page's snippet loads */
#include "ingest/routes.h"

enum { MAX_SEGMENTS = 6 };

struct cut {
    struct tg_str part[MAX_SEGMENTS];
    size_t n;
};

struct name {
    const char *name;
    enum tg_route_kind kind;
    enum tg_event_type type;
};

static const struct name long_names[] = {
    {"track", TG_ROUTE_EVENT, TG_TRACK},   {"identify", TG_ROUTE_EVENT, TG_IDENTIFY},
    {"page", TG_ROUTE_EVENT, TG_PAGE},     {"screen", TG_ROUTE_EVENT, TG_SCREEN},
    {"group", TG_ROUTE_EVENT, TG_GROUP},   {"alias", TG_ROUTE_EVENT, TG_ALIAS},
    {"delete", TG_ROUTE_EVENT, TG_DELETE}, {"merge", TG_ROUTE_MERGE, TG_TRACK},
    {"batch", TG_ROUTE_BATCH, TG_TRACK},   {"import", TG_ROUTE_BATCH, TG_TRACK},
};

static const struct name short_names[] = {
    {"t", TG_ROUTE_EVENT, TG_TRACK},  {"i", TG_ROUTE_EVENT, TG_IDENTIFY}, {"p", TG_ROUTE_EVENT, TG_PAGE},
    {"s", TG_ROUTE_EVENT, TG_SCREEN}, {"g", TG_ROUTE_EVENT, TG_GROUP},    {"a", TG_ROUTE_EVENT, TG_ALIAS},
    {"b", TG_ROUTE_BATCH, TG_TRACK},  {"m", TG_ROUTE_METRICS, TG_TRACK},
};

static const struct tg_route none = {.kind = TG_ROUTE_NONE};

/* False when there are more segments than any route has, or an empty one. One slash at the end is fine. */
static bool cut_path(struct tg_str path, struct cut *cut)
{
    cut->n = 0;
    if (path.n && path.p[path.n - 1] == '/')
        path.n--;
    const char *at = path.p, *end = path.p + path.n;
    while (at < end) {
        if (*at != '/' || cut->n == MAX_SEGMENTS)
            return false;
        const char *slash = memchr(at + 1, '/', (size_t)(end - at - 1));
        const char *stop = slash ? slash : end;
        cut->part[cut->n] = tg_str_n(at + 1, (size_t)(stop - at - 1));
        if (cut->part[cut->n++].n == 0)
            return false;
        at = stop;
    }
    return cut->n > 0;
}

static void drop(struct cut *cut, size_t n)
{
    cut->n -= n;
    memmove(cut->part, cut->part + n, cut->n * sizeof cut->part[0]);
}

/* Takes a first segment off. */
static bool takes(struct cut *cut, const char *first)
{
    if (cut->n == 0 || !tg_str_is(cut->part[0], first))
        return false;
    drop(cut, 1);
    return true;
}

static const struct name *find(const struct name *names, size_t n, struct tg_str text)
{
    for (size_t i = 0; i < n; i++) {
        if (tg_str_is(text, names[i].name))
            return &names[i];
    }
    return NULL;
}

static const struct name *find_long(struct tg_str text)
{
    return find(long_names, sizeof long_names / sizeof long_names[0], text);
}

static const struct name *find_short(struct tg_str text)
{
    return find(short_names, sizeof short_names / sizeof short_names[0], text);
}

static struct tg_route route_of(const struct name *name)
{
    return name ? (struct tg_route){.kind = name->kind, .type = name->type} : none;
}

/* NAME, SHORT, or NAME/SHORT where a mobile SDK appended its own ending: the ending says what is in the body.
 */
static struct tg_route event_route(const struct cut *cut)
{
    if (cut->n == 1 && cut->part[0].n == 1)
        return route_of(find_short(cut->part[0]));
    if (cut->n == 1)
        return route_of(find_long(cut->part[0]));
    if (cut->n == 2 && find_long(cut->part[0]))
        return route_of(find_short(cut->part[1]));
    return none;
}

/* An event in a query string; deletion is too dangerous for one. Whatever a page asks for here is a picture.
 */
static struct tg_route pixel_route(const struct cut *cut)
{
    const struct name *name = cut->n == 1 ? find_long(cut->part[0]) : NULL;
    if (!name || name->kind != TG_ROUTE_EVENT || name->type == TG_DELETE)
        return (struct tg_route){.kind = TG_ROUTE_PIXEL, .unknown = true};
    return (struct tg_route){.kind = TG_ROUTE_PIXEL, .type = name->type};
}

static struct tg_route jitsu_route(struct cut *cut)
{
    if (takes(cut, "px"))
        return pixel_route(cut);
    if (!takes(cut, "s"))
        return none;
    (void)takes(cut, "s2s");
    return cut->n == 1 ? route_of(find_long(cut->part[0])) : none;
}

static struct tg_route settings_route(struct cut *cut)
{
    (void)(cut->n == 3 && takes(cut, "projects"));
    if (cut->n != 2 || !tg_str_is(cut->part[1], "settings"))
        return none;
    return (struct tg_route){.kind = TG_ROUTE_SETTINGS, .write_key = cut->part[0]};
}

static struct tg_route script_route(struct cut *cut)
{
    if (cut->n != 3 || !takes(cut, "v1") || !tg_str_is(cut->part[1], "analytics.min.js"))
        return none;
    return (struct tg_route){.kind = TG_ROUTE_BROWSER_SCRIPT, .write_key = cut->part[0]};
}

static struct tg_route simple_route(const struct cut *cut)
{
    if (cut->n == 1 && tg_str_is(cut->part[0], "health"))
        return (struct tg_route){.kind = TG_ROUTE_HEALTH};
    if (cut->n == 1 && tg_str_is(cut->part[0], "sourceConfig"))
        return (struct tg_route){.kind = TG_ROUTE_SOURCE_CONFIG};
    return none;
}

struct tg_route tg_route_find(struct tg_str path)
{
    struct cut cut;
    if (!cut_path(path, &cut))
        return none;
    if (takes(&cut, "api"))
        return jitsu_route(&cut);
    if (takes(&cut, "beacon"))
        return takes(&cut, "v1") ? event_route(&cut) : none;
    if (takes(&cut, "analytics.js"))
        return script_route(&cut);
    struct tg_route simple = simple_route(&cut);
    if (simple.kind != TG_ROUTE_NONE)
        return simple;
    bool v1 = takes(&cut, "v1");
    if (takes(&cut, "pixel")) {
        (void)(!v1 && takes(&cut, "v1"));
        return pixel_route(&cut);
    }
    if (takes(&cut, "projects"))
        return settings_route(&cut);
    return event_route(&cut);
}

bool tg_route_allows(enum tg_route_kind kind, enum tg_http_method method)
{
    if (method == TG_HTTP_OPTIONS)
        return true;
    switch (kind) {
    case TG_ROUTE_EVENT:
    case TG_ROUTE_BATCH:
    case TG_ROUTE_MERGE:
    case TG_ROUTE_METRICS:
        return method == TG_HTTP_POST;
    default:
        return method == TG_HTTP_GET || method == TG_HTTP_HEAD;
    }
}

const char *tg_route_allow(enum tg_route_kind kind)
{
    return tg_route_allows(kind, TG_HTTP_POST) ? "POST, OPTIONS" : "GET, HEAD, OPTIONS";
}
