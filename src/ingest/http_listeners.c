#include "ingest/http_listeners.h"

#include "base/log.h"
#include "base/mem.h"

void tg_http_listener_apply(struct tg_http_listener *l)
{
    struct tg_http *h = l->h;
    if (h->paused || h->full || h->starved || h->stopping)
        (void)event_del(&l->acceptable);
    else if (event_add(&l->acceptable, NULL) != 0)
        tg_error("cannot listen", TG_FI("fd", l->fd));
}

void tg_http_listeners_apply(struct tg_http *h)
{
    struct tg_http_listener *l;
    TAILQ_FOREACH(l, &h->listeners, link)
    tg_http_listener_apply(l);
}

struct tg_http_listener *tg_http_listener_find(struct tg_http *h, int fd)
{
    struct tg_http_listener *l;
    TAILQ_FOREACH(l, &h->listeners, link)
    {
        if (l->fd == fd)
            return l;
    }
    return NULL;
}

void tg_http_listener_free(struct tg_http *h, struct tg_http_listener *l)
{
    (void)event_del(&l->acceptable);
    TAILQ_REMOVE(&h->listeners, l, link);
    tg_free(l);
}

void tg_http_accept_stop(struct tg_http *h, int fd)
{
    struct tg_http_listener *l = tg_http_listener_find(h, fd);
    if (l)
        tg_http_listener_free(h, l);
}

void tg_http_pause(struct tg_http *h, bool paused)
{
    h->paused = paused;
    tg_http_listeners_apply(h);
}
