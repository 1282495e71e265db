/* tidegate describe SCRIPT [--settings F]: what the script declares (name, settings, hosts, rates, batches,
 * accepted types) as one JSON object. Without --settings it takes those of the first fixture that they fit.
 */
#ifndef TG_DAEMON_CMD_DESCRIBE_H
#define TG_DAEMON_CMD_DESCRIBE_H

int tg_cmd_describe(int argc, char **argv);

#endif
