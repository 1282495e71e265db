/* URLs, percent-encoding, query strings and forms. */
#ifndef TG_BASE_URL_H
#define TG_BASE_URL_H

#include "base/buf.h"

#include <stdbool.h>

/* Parts as spans of the text that was parsed. */
struct tg_url {
    struct tg_str scheme; /* "http" or "https", as written */
    struct tg_str host;   /* without brackets */
    int port;             /* 80 or 443 when not written */
    struct tg_str port_text;
    struct tg_str path;     /* begins with '/'; empty when absent */
    struct tg_str query;    /* without '?' */
    struct tg_str fragment; /* without '#' */
    bool https, ipv6;
};

/* Absolute http and https URLs only, no user info; TG_INVALID names what is wrong. Control characters, spaces
 * and non-ASCII bytes are refused: encode them first. */
TG_MUST_CHECK int tg_url_parse(struct tg_str text, struct tg_url *url, struct tg_err *err);

/* Adds text with every byte outside RFC 3986 unreserved as %XX. */
TG_MUST_CHECK int tg_url_encode(struct tg_buf *out, struct tg_str text);
/* Adds text with %XX decoded and, when plus is set, '+' as a space. A bad escape stays as it is. */
TG_MUST_CHECK int tg_url_decode(struct tg_buf *out, struct tg_str text, bool plus);

/* Adds "name=value", with '&' before it when *first is false; sets *first to false. */
TG_MUST_CHECK int tg_form_add(struct tg_buf *out, bool *first, struct tg_str name, struct tg_str value);

/* Walks a=b&c=d without decoding: names and values are raw spans. */
struct tg_form_walk {
    const char *at, *end;
    struct tg_str name, value;
};
struct tg_form_walk tg_form_walk(struct tg_str query);
bool tg_form_next(struct tg_form_walk *w);

/* Whether text has CR, LF or NUL: such a value must never reach a header. */
bool tg_has_header_break(struct tg_str text);

#endif
