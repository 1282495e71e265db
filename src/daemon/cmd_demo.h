/* `tidegate demo`: the relay with its spool and a stand-in partner; one sample event per script goes in
 * through the HTTP door, and what each partner would get is shown. */
#ifndef TG_DAEMON_CMD_DEMO_H
#define TG_DAEMON_CMD_DEMO_H

int tg_cmd_demo(int argc, char **argv);

#endif
