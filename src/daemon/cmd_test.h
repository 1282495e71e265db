/* tidegate test [SCRIPT…] [--scripts DIR] [-v] [--update] [--watch]: runs the fixtures of scripts (all of
 * them without names). Each fixture is compared exactly, run a second time, and its event is sent again in
 * many broken forms, none of which may raise. What no fixture touches is listed. --update writes what came
 * out into the fixtures that fail; --watch runs again after each change. 0 when all is well, 1 otherwise. */
#ifndef TG_DAEMON_CMD_TEST_H
#define TG_DAEMON_CMD_TEST_H

int tg_cmd_test(int argc, char **argv);

#endif
