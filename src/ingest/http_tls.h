/* TLS for a listener: a certificate chain and key in PEM files, TLS 1.2 and up, reloadable. */
#ifndef TG_INGEST_HTTP_TLS_H
#define TG_INGEST_HTTP_TLS_H

#include "base/err.h"

struct tg_http_tls;
struct ssl_st;

/* Reads and checks both files (the key must fit the certificate). The paths are copied. */
TG_MUST_CHECK int tg_http_tls_new(struct tg_http_tls **out, const char *cert_file, const char *key_file,
                                  struct tg_err *err);
/* Listeners that use it must be gone. Open connections keep what they need. */
void tg_http_tls_free(struct tg_http_tls **tls);
/* Reads the files again. New connections use the new pair; on failure the old one stays in use. */
TG_MUST_CHECK int tg_http_tls_reload(struct tg_http_tls *tls, struct tg_err *err);

/* A server-side session on a connected socket, NULL when out of memory. The socket stays the caller's. */
struct ssl_st *tg_http_tls_session(struct tg_http_tls *tls, int fd);

#endif
