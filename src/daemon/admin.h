/* The admin listener: it only reads. /healthz, /readyz, /metrics (Prometheus text), /status (JSON). Served by
 * whichever worker accepts, from the board and the metrics that all share. At most 64 connections in each
 * worker, the one that is idle longest makes room. */
#ifndef TG_DAEMON_ADMIN_H
#define TG_DAEMON_ADMIN_H

#include "base/metrics.h"
#include "daemon/board.h"

struct event_base;
struct tg_admin;

/* fd stays the caller's. `token` (NULL or "": none is asked for) is copied: requests need "Authorization:
 * Bearer <token>". */
TG_MUST_CHECK int tg_admin_new(struct event_base *base, int fd, const char *token, struct tg_board *board,
                               struct tg_metrics *metrics, struct tg_admin **out, struct tg_err *err);
/* Another token, copied. */
TG_MUST_CHECK int tg_admin_set_token(struct tg_admin *admin, const char *token);
void tg_admin_free(struct tg_admin **admin);

#endif
