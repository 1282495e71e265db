#include "ingest/http_io.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

static ssize_t of_errno(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? TG_HTTP_IO_AGAIN : TG_HTTP_IO_ERROR;
}

/* OpenSSL counts in int. */
static int clamp(size_t n)
{
    return n > INT_MAX ? INT_MAX : (int)n;
}

static ssize_t tls_read(struct tg_http_io *io, void *buf, size_t n)
{
    ERR_clear_error();
    int got = SSL_read(io->ssl, buf, clamp(n));
    if (got > 0)
        return got;
    switch (SSL_get_error(io->ssl, got)) {
    case SSL_ERROR_WANT_WRITE:
        io->read_wants_write = true;
        return TG_HTTP_IO_AGAIN;
    case SSL_ERROR_WANT_READ:
        return TG_HTTP_IO_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        return TG_HTTP_IO_ERROR;
    }
}

static ssize_t tls_write(struct tg_http_io *io, const void *buf, size_t n)
{
    ERR_clear_error();
    int sent = SSL_write(io->ssl, buf, clamp(n));
    if (sent > 0)
        return sent;
    int why = SSL_get_error(io->ssl, sent);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? TG_HTTP_IO_AGAIN : TG_HTTP_IO_ERROR;
}

ssize_t tg_http_io_read(struct tg_http_io *io, void *buf, size_t n)
{
    io->read_wants_write = false;
    if (io->ssl)
        return tls_read(io, buf, n);
    ssize_t got = recv(io->fd, buf, n, 0);
    return got >= 0 ? got : of_errno();
}

ssize_t tg_http_io_write(struct tg_http_io *io, const void *buf, size_t n)
{
    if (io->ssl)
        return tls_write(io, buf, n);
    ssize_t sent = send(io->fd, buf, n, MSG_NOSIGNAL);
    return sent >= 0 ? sent : of_errno();
}

bool tg_http_io_pending(const struct tg_http_io *io)
{
    return io->ssl && SSL_has_pending(io->ssl);
}

static void say_goodbye(struct tg_http_io *io)
{
    if (io->ssl && SSL_is_init_finished(io->ssl)) {
        ERR_clear_error();
        (void)SSL_shutdown(io->ssl);
    }
}

void tg_http_io_end(struct tg_http_io *io)
{
    say_goodbye(io);
    (void)shutdown(io->fd, SHUT_WR);
}

void tg_http_io_close(struct tg_http_io *io)
{
    if (io->fd < 0)
        return;
    say_goodbye(io);
    SSL_free(io->ssl);
    io->ssl = NULL;
    (void)close(io->fd);
    io->fd = -1;
}
