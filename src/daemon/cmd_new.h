/* tidegate new NAME [--dir DIR]: starts a script: a folder with one that works, a fixture that fails and says
 * what to write, and a README. */
#ifndef TG_DAEMON_CMD_NEW_H
#define TG_DAEMON_CMD_NEW_H

int tg_cmd_new(int argc, char **argv);

#endif
