#include "ingest/caller.h"

#include "ingest/answer.h"
#include "ingest/request.h"
#include "ingest/write_key.h"

/* Looks the key up and asks what its source may. */
static bool admit(struct tg_call *c)
{
    c->source = tg_sources_find(c->in->sources, c->key);
    if (!c->source)
        return tg_refuse(c, 401, "unknown_write_key", "no source has this write key");
    if (!c->source->enabled)
        return tg_refuse(c, 401, "source_disabled", "the source of this write key is disabled");
    bool post = c->msg->method == TG_HTTP_POST;
    if (post && c->origin.n && !tg_source_allows_origin(c->source, c->origin))
        return tg_refuse(c, 403, "origin_not_allowed",
                         "this origin is not among the source's allowed_origins");
    bool deletion = c->route.kind == TG_ROUTE_EVENT && c->route.type == TG_DELETE;
    if (deletion && (!c->source->allow_delete || c->origin.n))
        return tg_refuse(c, 403, "delete_not_allowed",
                         "deletion needs allow_delete on the source and is never taken from browsers");
    return true;
}

bool tg_caller_find(struct tg_call *c)
{
    if (tg_write_key_of(c->msg, &c->in->key, &c->key))
        return tg_refuse_unready(c, TG_NOMEM, NULL, 0);
    return c->key.n ? admit(c) : true;
}

bool tg_caller_find_in_body(struct tg_call *c)
{
    if (c->source)
        return true;
    tg_buf_clear(&c->in->key);
    int rc = tg_body_write_key(c->body, &c->in->key);
    if (rc == TG_NOTFOUND)
        return tg_refuse(c, 401, "missing_write_key",
                         "no write key: send it as Basic user name, X-Write-Key, ?writeKey= or in the body");
    if (rc)
        return tg_refuse_unready(c, TG_NOMEM, NULL, 0);
    c->key = tg_buf_str(&c->in->key);
    return admit(c);
}

bool tg_caller_need(struct tg_call *c)
{
    if (c->source)
        return true;
    return c->key.n ? admit(c) : tg_refuse(c, 401, "missing_write_key", "no write key");
}
