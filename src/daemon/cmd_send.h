/* `tidegate send`: posts events as an SDK would. */
#ifndef TG_DAEMON_CMD_SEND_H
#define TG_DAEMON_CMD_SEND_H

int tg_cmd_send(int argc, char **argv);

#endif
