/* Answers to requests: success, errors with the codes of the ingest contract (section 7), each with CORS
 * headers. */
#ifndef TG_INGEST_ANSWER_H
#define TG_INGEST_ANSWER_H

#include "ingest/ingest_state.h"

enum { TG_RETRY_AFTER_S = 5 }; /* where nobody knows better */

struct tg_answer {
    int status;
    const char *type;
    int retry_after;   /* s; 0: none */
    const char *allow; /* NULL: none */
    struct tg_str body;
};

void tg_answer_send(struct tg_ingest *in, struct tg_http_req *req, struct tg_str origin,
                    const struct tg_answer *a);
/* {"success":true}, or the picture. */
void tg_answer_success(struct tg_ingest *in, struct tg_http_req *req, struct tg_str origin, bool pixel);
/* Of `a` status, retry_after and allow count. Counts the code. */
void tg_answer_error(struct tg_ingest *in, struct tg_http_req *req, struct tg_str origin, struct tg_answer a,
                     const char *code, const char *message);
/* Any JSON text with 200; rc: of its making, an error is answered instead. */
void tg_answer_json(const struct tg_call *c, int rc, const struct tg_buf *text);

/* The same for a call; pixels always get their picture. All give false, so that a step can return it. */
bool tg_refuse(const struct tg_call *c, int status, const char *code, const char *message);
bool tg_refuse_with(const struct tg_call *c, struct tg_answer a, const char *code, const char *message);
/* By a result of the sink or of our own: nothing was taken, the sender should come again. why: NULL for what
 * the code says; retry_after in s, any other than 1 to 300 for the usual. */
bool tg_refuse_unready(const struct tg_call *c, int rc, const char *why, int retry_after);

#endif
