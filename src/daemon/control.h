/* <spool>/control.sock: one line of a command in, an answer out. The first byte of an answer is '0' (done) or
 * '1' (not done), the rest is for the person (or JSON, for status). The socket's mode (0600) is the
 * permission.
 *
 * Server side: in the supervisor, non-blocking, at most 16 clients, lines of at most 4 KiB. A client that
 * does not send its line, or does not read its answer, for 10 s is cut off. */
#ifndef TG_DAEMON_CONTROL_H
#define TG_DAEMON_CONTROL_H

#include "base/buf.h"

#include <stdbool.h>

struct event_base;
struct tg_control;
struct tg_control_client; /* one that waits for its answer */

/* The answer to `reload PATH` when PATH is not what the relay runs with. */
#define TG_CONTROL_OTHER "this relay runs with another configuration"

/* `command` gets the line without its newline; it answers now or later with tg_control_answer. */
typedef void tg_control_fn(void *arg, struct tg_control_client *client, const char *line);
TG_MUST_CHECK int tg_control_new(struct event_base *base, const char *spool_path, tg_control_fn *command,
                                 void *arg, struct tg_control **out, struct tg_err *err);
void tg_control_set_patience(struct tg_control *control, int ms); /* with clients that come later */
void tg_control_free(struct tg_control **control);
void tg_control_answer(struct tg_control_client *client, bool ok, struct tg_str text);
/* Closes what a forked child has inherited, without touching the parent's loop. */
void tg_control_close_in_child(struct tg_control *control);

/* Client side: sends the line, reads the whole answer (blocking, until the daemon closes). *ok is its first
 * byte. TG_NOTFOUND: no daemon runs on this spool. */
TG_MUST_CHECK int tg_control_ask(const char *spool_path, const char *line, bool *ok, struct tg_buf *answer,
                                 struct tg_err *err);
/* Tells a running relay that the state was changed from outside, and waits until all its workers have looked
 * and have written what they were writing. *runs: whether there is a relay at all. */
TG_MUST_CHECK int tg_control_wake(const char *spool_path, bool *runs, struct tg_err *err);
/* Whether a running relay has loaded something else than what has this tg_snapshot_digest. False where none
 * runs or it cannot be asked. */
bool tg_control_differs(const char *spool_path, const char *digest);

#endif
