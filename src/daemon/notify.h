/* Telling systemd how we are, when it started us (sd_notify's datagram protocol on $NOTIFY_SOCKET). */
#ifndef TG_DAEMON_NOTIFY_H
#define TG_DAEMON_NOTIFY_H

#include <stdint.h>

/* "READY=1", "STOPPING=1", "RELOADING=1", "STATUS=…". Nothing happens without systemd. */
void tg_notify(const char *state);

/* The start takes as long as reading the log takes: systemd is asked for more time (TimeoutStartSec) every
 * few seconds. `*asked`: mono ms of the last time, 0: never. */
void tg_notify_starting(int64_t *asked, int64_t now);

#endif
