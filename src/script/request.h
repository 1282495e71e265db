/* A delivery that a handler asked for, and what came back. No Lua here.
 *
 * Whoever got a request frees it. Its short texts stand in the request itself: one allocation instead of ten;
 * so they are made and given up by the functions here. */
#ifndef TG_SCRIPT_REQUEST_H
#define TG_SCRIPT_REQUEST_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tg_body_kind { TG_BODY_NONE, TG_BODY_JSON, TG_BODY_FORM, TG_BODY_RAW };

struct tg_header {
    char *name, *value; /* no CR, LF or NUL; names are tokens */
};

/* One delivery. */
struct tg_request {
    unsigned call; /* number of this delivery within its run, from 1 */
    char *method;  /* "POST" */
    char *url;     /* complete, query encoded; host allowed by the script's contract */
    struct tg_header *headers;
    size_t n_headers;
    enum tg_body_kind body_kind;
    char *body; /* NULL while it waits to be joined */
    size_t body_len;
    bool gzip;                /* body is to be compressed on the wire */
    char *rate, *batch, *key; /* or NULL */
    char *secret;             /* what nobody may read where the request is shown, or NULL */
    uint64_t item;            /* the host's handle of the `item` value; 0: none */
    size_t item_bytes;        /* about how long it is as JSON */
    bool repeatable;
    bool share; /* the answer to an equal request that is under way serves this one too */
};
struct tg_response {
    int status;        /* 0: no answer, see error */
    const char *error; /* network error for the person, or NULL */
    const struct tg_header *headers;
    size_t n_headers;
    struct tg_str body;
};

/* An empty request; NULL when out of memory. */
struct tg_request *tg_request_new(void);
void tg_request_free(struct tg_request **request);

/* A copy of the text for a member of the request, with a NUL behind it; NULL when out of memory. */
char *tg_request_text(struct tg_request *r, struct tg_str text);
/* Adds a header, or gives the one of that name (case aside) this value. */
TG_MUST_CHECK int tg_request_set_header(struct tg_request *r, struct tg_str name, struct tg_str value);
bool tg_request_has_header(const struct tg_request *r, const char *name);

#endif
