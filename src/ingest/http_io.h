/* Bytes to and from one connected, non-blocking socket, plain or TLS: the only place that knows the
 * difference.
 *
 * TLS calls OpenSSL directly instead of going through a bufferevent: both kinds of connection then share one
 * state machine and its bounded buffers, and an idle TLS connection holds no evbuffers. */
#ifndef TG_INGEST_HTTP_IO_H
#define TG_INGEST_HTTP_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct ssl_st;

struct tg_http_io {
    int fd;                /* -1: closed */
    struct ssl_st *ssl;    /* NULL: plain */
    bool read_wants_write; /* the last read goes on when the socket can be written (TLS handshake) */
};

enum { TG_HTTP_IO_ERROR = -1, TG_HTTP_IO_AGAIN = -2 };

/* Bytes read, 0 at the end, or one of the above. */
ssize_t tg_http_io_read(struct tg_http_io *io, void *buf, size_t n);
/* Bytes written (perhaps fewer), or one of the above. */
ssize_t tg_http_io_write(struct tg_http_io *io, const void *buf, size_t n);
/* Whether bytes wait inside the TLS layer, of which the socket will not tell. */
bool tg_http_io_pending(const struct tg_http_io *io);
/* Says that nothing more will be sent. */
void tg_http_io_end(struct tg_http_io *io);
/* Closes the socket; again is fine. */
void tg_http_io_close(struct tg_http_io *io);

#endif
