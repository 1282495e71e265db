/* A connection's states, its writing and its end; http_read.c has its reading.
 *
 * Life of a connection:
 *
 *             bytes                      whole request              answer
 *     idle ----------> receiving (busy) --------------> waiting ------------> idle, or sending (busy) until
 * it is taken
 *
 * Each state is a list. Idle and busy connections are appended with the time and so stay sorted by it: a
 * sweep looks at the heads only, and no connection has a timer of its own. Waiting ones have no deadline, the
 * handler owes an answer.
 *
 * A connection that goes away while its request waits is closed at once, but its struct stays (dead) until
 * the answer, so that the handler's pointer is good. What the answer triggers (the next pipelined request)
 * runs from the loop, never inside the handler's call of tg_http_reply: the sink may be in the middle of a
 * list of such calls. */
#ifndef TG_INGEST_HTTP_CONN_H
#define TG_INGEST_HTTP_CONN_H

#include "ingest/http_state.h"

/* Out of its list and to the end of another; NULL: of none. */
void tg_conn_move_to(struct tg_http_req *c, struct tg_http_list *list);
void tg_conn_set_idle(struct tg_http_req *c);
/* A connection that is busy already keeps its time: the deadline is the whole request's. */
void tg_conn_set_busy(struct tg_http_req *c);

/* After `in` has grown or shrunk: what all connections hold together. */
void tg_conn_count_buffer(struct tg_http_req *c);
void tg_conn_drop_input(struct tg_http_req *c);

/* Sends what waits in `out`. False: the connection is closed. */
TG_MUST_CHECK bool tg_conn_flush(struct tg_http_req *c);
/* Sends, or keeps what the socket does not take. False: the connection is closed. */
TG_MUST_CHECK bool tg_conn_send(struct tg_http_req *c, struct tg_str bytes);
/* The answer is given to the socket or to `out`, and nothing works on the connection's input: what next? */
void tg_conn_after_answer(struct tg_http_req *c);

/* Ends the connection now. The struct goes too, unless the handler or what works on its input still needs it.
 */
void tg_conn_close(struct tg_http_req *c);
/* A server that stops has ended when nobody holds a connection any more: says so from the loop. */
void tg_conn_maybe_finish(struct tg_http *h);

#endif
