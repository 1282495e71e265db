#include "ingest/http_tls.h"

#include "base/mem.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

struct tg_http_tls {
    char *cert_file, *key_file;
    SSL_CTX *context; /* sessions hold their own reference */
};

static int fail(struct tg_err *err, const char *what, const char *file)
{
    unsigned long first = ERR_peek_error(); /* of the file itself: later ones only say that this came up */
    const char *reason = ERR_SYSTEM_ERROR(first) ? strerror(ERR_GET_REASON(first))
                                                 : ERR_reason_error_string(ERR_peek_last_error());
    return tg_fail(err, TG_INVALID, "%s %s: %s", what, file, reason ? reason : "cannot be used");
}

static int load_pair(SSL_CTX *context, const char *cert_file, const char *key_file, struct tg_err *err)
{
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(context, cert_file) != 1)
        return fail(err, "certificate", cert_file);
    if (SSL_CTX_use_PrivateKey_file(context, key_file, SSL_FILETYPE_PEM) != 1)
        return fail(err, "private key", key_file);
    if (SSL_CTX_check_private_key(context) != 1)
        return fail(err, "private key does not fit the certificate:", key_file);
    return TG_OK;
}

static int new_context(SSL_CTX **out, const char *cert_file, const char *key_file, struct tg_err *err)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context)
        return tg_fail(err, TG_NOMEM, "TLS: out of memory");
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF |
                                     SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    /* Sessions are resumed by tickets only: no table that grows in each worker. */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    int rc = load_pair(context, cert_file, key_file, err);
    if (rc) {
        SSL_CTX_free(context);
        return rc;
    }
    *out = context;
    return TG_OK;
}

int tg_http_tls_new(struct tg_http_tls **out, const char *cert_file, const char *key_file, struct tg_err *err)
{
    struct tg_http_tls *tls = tg_calloc(1, sizeof *tls);
    if (!tls)
        return tg_fail(err, TG_NOMEM, "TLS: out of memory");
    tls->cert_file = tg_strdup(cert_file);
    tls->key_file = tg_strdup(key_file);
    int rc = tls->cert_file && tls->key_file ? tg_http_tls_reload(tls, err)
                                             : tg_fail(err, TG_NOMEM, "TLS: out of memory");
    if (rc)
        tg_http_tls_free(&tls);
    *out = tls;
    return rc;
}

void tg_http_tls_free(struct tg_http_tls **tls)
{
    if (!*tls)
        return;
    SSL_CTX_free((*tls)->context);
    tg_free((*tls)->cert_file);
    tg_free((*tls)->key_file);
    tg_free(*tls);
    *tls = NULL;
}

int tg_http_tls_reload(struct tg_http_tls *tls, struct tg_err *err)
{
    SSL_CTX *context = NULL;
    int rc = new_context(&context, tls->cert_file, tls->key_file, err);
    if (rc)
        return rc;
    SSL_CTX_free(tls->context);
    tls->context = context;
    return TG_OK;
}

struct ssl_st *tg_http_tls_session(struct tg_http_tls *tls, int fd)
{
    SSL *ssl = SSL_new(tls->context);
    if (!ssl)
        return NULL;
    if (SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        return NULL;
    }
    SSL_set_accept_state(ssl);
    return ssl;
}
