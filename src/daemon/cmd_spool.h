/* `tidegate spool ls|cat|verify`: looks into the event log, beside a running relay or without one. */
#ifndef TG_DAEMON_CMD_SPOOL_H
#define TG_DAEMON_CMD_SPOOL_H

int tg_cmd_spool(int argc, char **argv);

#endif
