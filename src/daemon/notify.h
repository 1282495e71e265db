/* Telling systemd how we are, when it started us (sd_notify's datagram protocol on $NOTIFY_SOCKET). */
#ifndef TG_DAEMON_NOTIFY_H
#define TG_DAEMON_NOTIFY_H

/* "READY=1", "STOPPING=1", "RELOADING=1", "STATUS=…". Nothing happens without systemd. */
void tg_notify(const char *state);

#endif
