/* The board as JSON for people and programs: `/status` and `tidegate status`. */
#ifndef TG_DAEMON_BOARD_STATUS_H
#define TG_DAEMON_BOARD_STATUS_H

#include "base/metrics.h"
#include "daemon/board.h"

/* {"ready", "why", "version", "generation", "workers": […], "destinations": {…}}: every worker's report, and
 * the destinations' figures added up (times and ages: the oldest), with "waiting" (backlog and retries) and
 * what has become of events since the start: "delivered", "skipped", "rejected", "retried", "dead",
 * "dropped". */
TG_MUST_CHECK int tg_board_status(struct tg_board *board, struct tg_metrics *metrics, struct tg_buf *json);
#endif
