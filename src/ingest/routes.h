/* Which paths are served, with all their aliases, prefixes and suffixes (ingest contract section 1). */
#ifndef TG_INGEST_ROUTES_H
#define TG_INGEST_ROUTES_H

#include "base/event.h"
#include "ingest/http_parser.h"

enum tg_route_kind {
    TG_ROUTE_NONE,           /* 404 */
    TG_ROUTE_EVENT,          /* POST of one event; `type` is the path's */
    TG_ROUTE_BATCH,          /* POST of {"batch":[…]} */
    TG_ROUTE_MERGE,          /* POST, counted and dropped */
    TG_ROUTE_METRICS,        /* POST of an SDK's own metrics: 200 and dropped */
    TG_ROUTE_PIXEL,          /* GET of one event in the query */
    TG_ROUTE_SETTINGS,       /* GET; `write_key` is the path's */
    TG_ROUTE_BROWSER_SCRIPT, /* GET; likewise */
    TG_ROUTE_SOURCE_CONFIG,  /* GET, RudderStack's settings */
    TG_ROUTE_HEALTH          /* GET */
};

struct tg_route {
    enum tg_route_kind kind;
    enum tg_event_type type;
    bool unknown; /* TG_ROUTE_PIXEL of no event that a pixel may carry: its picture is all it gets */
    struct tg_str write_key; /* raw span of the path: may be percent-encoded */
};

/* path: raw. A trailing slash is fine. */
struct tg_route tg_route_find(struct tg_str path);
/* Whether the route takes this method (OPTIONS is everybody's, HEAD goes with GET), and what to put into
 * Allow. */
bool tg_route_allows(enum tg_route_kind kind, enum tg_http_method method);
const char *tg_route_allow(enum tg_route_kind kind);

#endif
