/* `tidegate forget --user-id ID`: removes what waits of a user, beside a running relay or without one. */
#ifndef TG_DAEMON_CMD_FORGET_H
#define TG_DAEMON_CMD_FORGET_H

int tg_cmd_forget(int argc, char **argv);

#endif
