/* The supervisor: parent of the workers, keeper of sockets, spool lock, board and snapshot. It parses nothing
 * that comes from the network and runs no Lua. Design section 4. */
#ifndef TG_DAEMON_SUPERVISOR_H
#define TG_DAEMON_SUPERVISOR_H

struct tg_run_options {
    const char *config_path;
    /* Called once every worker serves, with the address of the first listener and of the admin listener (or
     * NULL). May be NULL. */
    void (*on_ready)(void *arg, const char *listen, const char *admin);
    void *arg;
};

/* `tidegate run`: until SIGTERM or SIGINT. Returns the exit status; what went wrong is said on stderr. */
int tg_supervisor_run(const struct tg_run_options *options);

#endif
