/* What `tidegate COMMAND --help` prints beyond the line of the command's table. */
#ifndef TG_DAEMON_HELP_H
#define TG_DAEMON_HELP_H

/* Every option with a line, then what else there is to know. "" when there is nothing to say. */
const char *tg_help_of(const char *command);

#endif
