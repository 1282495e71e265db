/* `tidegate catch`: a stand-in partner that shows every request that it gets. */
#ifndef TG_DAEMON_CMD_CATCH_H
#define TG_DAEMON_CMD_CATCH_H

int tg_cmd_catch(int argc, char **argv);

#endif
