/* tidegate try SCRIPT --settings F --event F [--responses F] [--at TIME] [--reveal] [--scripts DIR]
 * [--allow-private]: what a script makes of one event, on stdout, without sending. 0 for deliver and skip, 1
 * otherwise, 2 for usage. */
#ifndef TG_DAEMON_CMD_TRY_H
#define TG_DAEMON_CMD_TRY_H

int tg_cmd_try(int argc, char **argv);

#endif
