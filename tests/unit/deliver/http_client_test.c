#include "deliver/http_client.h"

#include "base/gzip.h"
#include "base/mem.h"

#include <dlfcn.h>
#include <event2/bufferevent_ssl.h>
#include <netdb.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "deliver/partner.h"

enum { NEVER_MS = 300000 }; /* a time limit that no exchange with the partner here can reach */

static const char no_such_host[] = "no-such-host.invalid";

/* Stands before libc's: the machine's resolver may take its time for that name, or know it. */
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    if (host && strcmp(host, no_such_host) == 0)
        return EAI_NONAME;
    __typeof__(&getaddrinfo) real = *(__typeof__(&getaddrinfo) *)(void *[]){dlsym(RTLD_NEXT, "getaddrinfo")};
    return real(host, service, hints, found);
}

#define H(name, value)                                                                                       \
    {                                                                                                        \
        (char *)(name), (char *)(value)                                                                      \
    }

struct got {
    int done;
    int status;
    enum tg_client_failure failure;
    char error[512];
    char header[128]; /* value of X-Kind */
    size_t n_headers;
    char *body;
    size_t body_len;
};

struct fixture {
    struct event_base *base;
    struct partner *partner;
    struct tg_client *client;
    struct got got[64];
    char url[128];
};

static void done(void *arg, const struct tg_response *r, enum tg_client_failure failure)
{
    struct got *g = arg;
    g->done++;
    g->status = r->status;
    g->failure = failure;
    snprintf(g->error, sizeof g->error, "%s", r->error ? r->error : "");
    g->n_headers = r->n_headers;
    for (size_t i = 0; i < r->n_headers; i++)
        if (strcasecmp(r->headers[i].name, "x-kind") == 0)
            snprintf(g->header, sizeof g->header, "%s", r->headers[i].value);
    g->body = tg_strndup(r->body.n ? r->body.p : "", r->body.n);
    g->body_len = r->body.n;
}

static void new_client(struct fixture *f, struct tg_client_options o)
{
    o.base = f->base;
    tg_client_free(&f->client);
    assert_int_equal(tg_client_new(&o, &f->client, NULL), TG_OK);
}

static int set_up(void **state)
{
    struct fixture *f = tg_calloc(1, sizeof *f);
    f->base = event_base_new();
    f->partner = partner_new(f->base);
    new_client(f, (struct tg_client_options){.egress = {.allow_private = true}});
    snprintf(f->url, sizeof f->url, "http://127.0.0.1:%d/p?a=1", f->partner->port);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    tg_client_free(&f->client);
    partner_free(f->partner);
    for (size_t i = 0; i < 64; i++)
        tg_free(f->got[i].body);
    event_base_free(f->base);
    tg_free(f);
    return 0;
}

static bool is_done(void *arg)
{
    return ((struct got *)arg)->done > 0;
}

static struct tg_request request_to(struct fixture *f, const char *method, const char *body)
{
    return (struct tg_request){.method = (char *)method,
                               .url = f->url,
                               .body_kind = body ? TG_BODY_JSON : TG_BODY_NONE,
                               .body = (char *)body,
                               .body_len = body ? strlen(body) : 0};
}

static struct got *exchange(struct fixture *f, const struct tg_request *r, int64_t timeout_ms)
{
    struct got *g = &f->got[0];
    tg_free(g->body);
    memset(g, 0, sizeof *g);
    assert_int_equal(tg_client_send(f->client, r, timeout_ms, done, g, NULL, NULL), TG_OK);
    assert_int_equal(g->done, 0);
    loop_until(f->base, is_done, g);
    assert_int_equal(g->done, 1);
    assert_int_equal(tg_client_active(f->client), 0);
    return g;
}

static bool has_header(const struct partner_got *g, const char *line)
{
    char want[256];
    snprintf(want, sizeof want, "%s\n", line);
    return strstr(g->headers, want) != NULL;
}

/* A request arrives with its method, URL, headers and body, and the answer comes back whole. */
static void posts(void **state)
{
    struct fixture *f = *state;
    partner_script(f->partner,
                   (struct partner_answer){.status = 201, .headers = "X-Kind: good one\n", .body = "made"});
    struct tg_request r = request_to(f, "POST", "{\"a\":1}");
    struct tg_header h[] = {H("X-Api-Key", "k"), H("X-Empty", ""), H("Host", "elsewhere"),
                            H("Content-Length", "3")};
    r.headers = h;
    r.n_headers = 4;
    struct got *g = exchange(f, &r, NEVER_MS);
    assert_int_equal(g->failure, TG_CLIENT_ANSWERED);
    assert_int_equal(g->status, 201);
    assert_string_equal(g->header, "good one");
    assert_string_equal(g->body, "made");
    struct partner_got *p = &f->partner->got[0];
    assert_string_equal(p->method, "POST");
    assert_string_equal(p->uri, "/p?a=1");
    assert_string_equal(p->body, "{\"a\":1}");
    assert_true(has_header(p, "X-Api-Key: k"));
    assert_true(has_header(p, "X-Empty: "));
    assert_true(has_header(p, "Content-Type: application/json"));
    assert_true(has_header(p, "User-Agent: tidegate/" TG_VERSION));
    assert_false(has_header(p, "Host: elsewhere"));
    assert_false(has_header(p, "Content-Length: 3"));
}

/* Every method goes out under its own name on reused handles, with a body only where there is one. */
static void methods(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *method, *body;
    } rows[] = {{"POST", "x"}, {"GET", NULL},   {"PUT", "y"},   {"DELETE", NULL}, {"HEAD", NULL},
                {"GET", NULL}, {"PATCH", "zz"}, {"POST", NULL}, {"DELETE", "d"},  {"POST", "again"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_request r = request_to(f, rows[i].method, rows[i].body);
        assert_int_equal(exchange(f, &r, NEVER_MS)->status, 200);
        assert_string_equal(f->partner->got[i].method, rows[i].method);
        assert_string_equal(f->partner->got[i].body, rows[i].body ? rows[i].body : "");
        assert_int_equal(has_header(&f->partner->got[i], "Content-Type: application/json"),
                         rows[i].body != NULL);
    }
}

/* A body is compressed when asked for, and says so. */
static void compresses(void **state)
{
    struct fixture *f = *state;
    struct tg_request r = request_to(f, "POST", "{\"a\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}");
    r.gzip = true;
    exchange(f, &r, NEVER_MS);
    struct partner_got *p = &f->partner->got[0];
    assert_true(has_header(p, "Content-Encoding: gzip"));
    struct tg_inflate *z;
    struct tg_buf plain = TG_BUF_INIT(1000);
    assert_int_equal(tg_inflate_new(&z, false), TG_OK);
    assert_int_equal(tg_inflate_feed(z, tg_str_n(p->body, p->body_len), &plain, NULL), TG_OK);
    assert_true(tg_str_is(tg_buf_str(&plain), r.body));
    tg_inflate_free(&z);
    tg_buf_fini(&plain);
}

/* An answer longer than the ceiling is cut there and judged by its status; a compressed one too, so a bomb
 * stops early. */
static void cuts_long_answers(void **state)
{
    struct fixture *f = *state;
    new_client(f, (struct tg_client_options){.egress = {.allow_private = true}, .max_body = 1000});
    char *big = tg_calloc(1, 100001);
    memset(big, 'x', 100000);
    partner_script(f->partner, (struct partner_answer){.status = 202, .body = big});
    struct tg_request r = request_to(f, "POST", "{}");
    struct got *g = exchange(f, &r, NEVER_MS);
    assert_int_equal(g->failure, TG_CLIENT_ANSWERED);
    assert_int_equal(g->status, 202);
    assert_int_equal(g->body_len, 1000);

    struct tg_buf bomb = TG_BUF_INIT(100000);
    assert_int_equal(tg_gzip(&bomb, tg_str_n(big, 100000), 9), TG_OK);
    partner_script(f->partner, (struct partner_answer){.status = 400,
                                                       .headers = "Content-Encoding: gzip\n",
                                                       .body = bomb.data,
                                                       .body_len = bomb.len});
    g = exchange(f, &r, NEVER_MS);
    assert_int_equal(g->status, 400);
    assert_int_equal(g->body_len, 1000);
    assert_memory_equal(g->body, big, 1000);
    tg_buf_fini(&bomb);
    tg_free(big);
}

/* Bytes that are not the compression they claim to be do not hide that the partner has answered. */
static void survives_bad_encoding(void **state)
{
    struct fixture *f = *state;
    partner_script(f->partner, (struct partner_answer){.status = 200,
                                                       .headers = "Content-Encoding: gzip\n",
                                                       .body = "this is not gzip"});
    struct tg_request r = request_to(f, "POST", "{}");
    struct got *g = exchange(f, &r, NEVER_MS);
    assert_int_equal(g->failure, TG_CLIENT_ANSWERED);
    assert_int_equal(g->status, 200);
}

/* Headers beyond their ceiling end the transfer as well. */
static void cuts_long_headers(void **state)
{
    struct fixture *f = *state;
    new_client(f, (struct tg_client_options){.egress = {.allow_private = true}, .max_headers = 100});
    partner_script(f->partner,
                   (struct partner_answer){
                       .status = 200,
                       .headers =
                           "X-Kind: good\nX-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                           "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n"});
    struct tg_request r = request_to(f, "POST", "{}");
    struct got *g = exchange(f, &r, NEVER_MS);
    assert_int_equal(g->status, 200);
    assert_string_equal(g->header, "good");
}

/* A redirect is an answer, not an instruction. */
static void keeps_redirects(void **state)
{
    struct fixture *f = *state;
    partner_script(f->partner, (struct partner_answer){.status = 302, .headers = "Location: /elsewhere\n"});
    struct tg_request r = request_to(f, "POST", "{}");
    assert_int_equal(exchange(f, &r, NEVER_MS)->status, 302);
    assert_int_equal(f->partner->n_got, 1);
}

/* No answer in time is a timeout. */
static void times_out(void **state)
{
    struct fixture *f = *state;
    partner_script(f->partner, (struct partner_answer){.status = -1});
    struct tg_request r = request_to(f, "POST", "{}");
    struct got *g = exchange(f, &r, 100);
    assert_int_equal(g->failure, TG_CLIENT_TIMEOUT);
    assert_int_equal(g->status, 0);
    assert_true(g->error[0]);
}

/* A partner that is down, hangs up, or whose name does not exist is a network error with curl's words. */
static void network_errors(void **state)
{
    struct fixture *f = *state;
    struct tg_request r = request_to(f, "POST", "{}");
    partner_script(f->partner, (struct partner_answer){.status = -2});
    struct got *g = exchange(f, &r, NEVER_MS);
    assert_int_equal(g->failure, TG_CLIENT_NETWORK);
    partner_close(f->partner);
    g = exchange(f, &r, NEVER_MS);
    assert_int_equal(g->failure, TG_CLIENT_NETWORK);
    assert_non_null(strstr(g->error, "onnect"));
    char url[64];
    snprintf(url, sizeof url, "https://%s/", no_such_host);
    r.url = url;
    g = exchange(f, &r, NEVER_MS);
    assert_int_equal(g->failure, TG_CLIENT_NETWORK);
    assert_non_null(strstr(g->error, no_such_host));
}

/* A kept connection that breaks: the request goes out again on a new one, unless it carries a nonce, which
 * the partner may have seen. */
static void repeats_on_a_new_connection(void **state)
{
    struct fixture *f = *state;
    struct tg_request plain = request_to(f, "POST", "{}"), nonce = plain;
    struct tg_header h[] = {H("x-wsse", "UsernameToken Nonce=\"1\"")};
    nonce.headers = h;
    nonce.n_headers = 1;
    assert_int_equal(exchange(f, &plain, NEVER_MS)->status, 200);
    partner_script(f->partner, (struct partner_answer){.status = -2});
    assert_int_equal(exchange(f, &plain, NEVER_MS)->status, 200);
    assert_int_equal(f->partner->n_got, 3);
    partner_script(f->partner, (struct partner_answer){.status = -2});
    struct got *g = exchange(f, &nonce, NEVER_MS);
    assert_int_equal(g->failure, TG_CLIENT_NETWORK);
    assert_string_equal(g->error, "the connection broke before an answer");
    assert_int_equal(f->partner->n_got, 4);
    assert_int_equal(exchange(f, &nonce, NEVER_MS)->status, 200);
    assert_int_equal(f->partner->n_got, 5);
}

/* The resolved address decides: a name that points at the loopback is refused, and the text says which option
 * matters. */
static void refuses_private_addresses(void **state)
{
    struct fixture *f = *state;
    char url[128];
    new_client(f, (struct tg_client_options){0});
    struct tg_request r = request_to(f, "POST", "{}");
    static const char *const hosts[] = {"localhost", "127.0.0.1", "[::ffff:127.0.0.1]"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(url, sizeof url, "https://%s:%d/", hosts[i], f->partner->port);
        r.url = url;
        struct got *g = exchange(f, &r, NEVER_MS);
        assert_int_equal(g->failure, TG_CLIENT_EGRESS);
        assert_true(strstr(g->error, "127.0.0.1") || strstr(g->error, "::1"));
        assert_non_null(strstr(g->error, "egress.allow_private"));
    }
    assert_int_equal(f->partner->n_got, 0);
}

/* A list allows what it names, http too, and nothing else. */
static void allows_listed_addresses(void **state)
{
    struct fixture *f = *state;
    struct tg_cidr list[1];
    assert_int_equal(tg_cidr_parse(TG_STR("127.0.0.0/8"), &list[0], NULL), TG_OK);
    new_client(f, (struct tg_client_options){.egress = {.allow_private = true, .list = list, .n = 1}});
    struct tg_request r = request_to(f, "POST", "{}");
    assert_int_equal(exchange(f, &r, NEVER_MS)->status, 200);
    r.url = (char *)"http://10.1.2.3:9/";
    assert_int_equal(exchange(f, &r, NEVER_MS)->failure, TG_CLIENT_EGRESS);
    r.url = (char *)"http://192.0.2.1:9/";
    assert_int_equal(exchange(f, &r, NEVER_MS)->failure, TG_CLIENT_EGRESS);
}

/* What cannot be sent is refused at once, and names why. */
static void refuses_at_once(void **state)
{
    struct fixture *f = *state;
    struct tg_err err;
    static const char *const urls[] = {"ftp://127.0.0.1/", "file:///etc/passwd", "http://u:p@127.0.0.1/", "",
                                       "http://"};
    struct tg_request r = request_to(f, "POST", "{}");
    for (size_t i = 0; i < 5; i++) {
        r.url = (char *)urls[i];
        assert_int_equal(tg_client_send(f->client, &r, 1000, done, &f->got[0], NULL, &err), TG_INVALID);
    }
    r.url = f->url;
    r.method = (char *)"GET / HTTP/1.1\r\nX: ";
    assert_int_equal(tg_client_send(f->client, &r, 1000, done, &f->got[0], NULL, &err), TG_INVALID);
    r.method = (char *)"POST";
    struct tg_header h = H("X-A", "a\r\nX-B: b");
    r.headers = &h;
    r.n_headers = 1;
    assert_int_equal(tg_client_send(f->client, &r, 1000, done, &f->got[0], NULL, &err), TG_INVALID);
    new_client(f, (struct tg_client_options){0});
    r.n_headers = 0;
    assert_int_equal(tg_client_send(f->client, &r, 1000, done, &f->got[0], NULL, &err), TG_INVALID);
    assert_non_null(strstr(err.msg, "https"));
    assert_int_equal(tg_client_active(f->client), 0);
}

static bool all_done(void *arg)
{
    struct fixture *f = arg;
    for (int i = 0; i < 64; i++)
        if (!f->got[i].done)
            return false;
    return true;
}

/* Many requests at once each get their own answer. */
static void many_at_once(void **state)
{
    struct fixture *f = *state;
    struct tg_request r = request_to(f, "POST", "{}");
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 64; i++) {
            tg_free(f->got[i].body);
            memset(&f->got[i], 0, sizeof f->got[i]);
            assert_int_equal(tg_client_send(f->client, &r, NEVER_MS, done, &f->got[i], NULL, NULL), TG_OK);
        }
        loop_until(f->base, all_done, f);
    }
    for (int i = 0; i < 64; i++)
        assert_int_equal(f->got[i].status, 200);
    assert_int_equal(f->partner->n_got, 128);
}

static bool one_held(void *arg)
{
    return ((struct partner *)arg)->n_held == 1;
}

/* A cancelled request never calls back, before it was sent or after; the client works on. */
static void cancels(void **state)
{
    struct fixture *f = *state;
    struct tg_request r = request_to(f, "POST", "{}");
    struct tg_client_call *call;
    assert_int_equal(tg_client_send(f->client, &r, NEVER_MS, done, &f->got[1], &call, NULL), TG_OK);
    tg_client_cancel(&call);
    assert_null(call);
    f->partner->otherwise.status = -1;
    assert_int_equal(tg_client_send(f->client, &r, NEVER_MS, done, &f->got[1], &call, NULL), TG_OK);
    loop_until(f->base, one_held, f->partner);
    tg_client_cancel(&call);
    partner_release(f->partner, (struct partner_answer){0});
    f->partner->otherwise.status = 204;
    assert_int_equal(exchange(f, &r, NEVER_MS)->status, 204);
    assert_int_equal(f->got[1].done, 0);
}

/* Freeing the client ends what is under way. */
static void frees_with_requests_under_way(void **state)
{
    struct fixture *f = *state;
    struct tg_request r = request_to(f, "POST", "{}");
    f->partner->otherwise.status = -1;
    assert_int_equal(tg_client_send(f->client, &r, NEVER_MS, done, &f->got[0], NULL, NULL), TG_OK);
    loop_until(f->base, one_held, f->partner);
    tg_client_free(&f->client);
    assert_int_equal(f->got[0].done, 0);
}

/* The environment's proxies are not asked. */
static void ignores_proxy_of_the_environment(void **state)
{
    struct fixture *f = *state;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    struct tg_request r = request_to(f, "GET", NULL);
    assert_int_equal(exchange(f, &r, NEVER_MS)->status, 200);
    unsetenv("http_proxy");
    unsetenv("ALL_PROXY");
}

/* A configured proxy gets the whole URL. */
static void uses_the_configured_proxy(void **state)
{
    struct fixture *f = *state;
    char proxy[64];
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d", f->partner->port);
    new_client(f, (struct tg_client_options){.egress = {.allow_private = true}, .proxy = proxy});
    struct tg_request r = request_to(f, "GET", NULL);
    r.url = (char *)"http://partner.invalid/x";
    assert_int_equal(exchange(f, &r, NEVER_MS)->status, 200);
    assert_string_equal(f->partner->got[0].uri, "http://partner.invalid/x");
}

/* --- TLS --- */

struct identity {
    EVP_PKEY *key;
    X509 *cert;
    SSL_CTX *ctx;
    char path[32];
};

/* A certificate for 127.0.0.1 that nobody has signed but itself, also as a file. */
static struct identity new_identity(void)
{
    struct identity id = {
        .key = EVP_RSA_gen(2048), .cert = X509_new(), .ctx = SSL_CTX_new(TLS_server_method())};
    X509_set_version(id.cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(id.cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(id.cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(id.cert), 3600);
    X509_set_pubkey(id.cert, id.key);
    X509_NAME *name = X509_get_subject_name(id.cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"partner", -1, -1, 0);
    X509_set_issuer_name(id.cert, name);
    X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");
    X509_add_ext(id.cert, san, -1);
    X509_EXTENSION_free(san);
    assert_true(X509_sign(id.cert, id.key, EVP_sha256()) > 0);
    assert_int_equal(SSL_CTX_use_certificate(id.ctx, id.cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(id.ctx, id.key), 1);
    strcpy(id.path, "/tmp/tg-cert-XXXXXX");
    FILE *file = fdopen(mkstemp(id.path), "w");
    assert_int_equal(PEM_write_X509(file, id.cert), 1);
    fclose(file);
    return id;
}

static void drop_identity(struct identity *id)
{
    unlink(id->path);
    SSL_CTX_free(id->ctx);
    X509_free(id->cert);
    EVP_PKEY_free(id->key);
}

static struct bufferevent *tls_connection(struct event_base *base, void *arg)
{
    return bufferevent_openssl_socket_new(base, -1, SSL_new(arg), BUFFEREVENT_SSL_ACCEPTING,
                                          BEV_OPT_CLOSE_ON_FREE);
}

/* A certificate that is not trusted, or is for another name, is refused; ca_file makes it trusted. */
static void checks_certificates(void **state)
{
    struct fixture *f = *state;
    struct identity id = new_identity();
    char url[64];
    evhttp_set_bevcb(f->partner->http, tls_connection, id.ctx);
    snprintf(url, sizeof url, "https://127.0.0.1:%d/", f->partner->port);
    struct tg_request r = request_to(f, "POST", "{}");
    r.url = url;
    struct got *g = exchange(f, &r, NEVER_MS);
    assert_int_equal(g->failure, TG_CLIENT_NETWORK);
    assert_non_null(strstr(g->error, "certificate"));
    assert_int_equal(f->partner->n_got, 0);
    new_client(f, (struct tg_client_options){.egress = {.allow_private = true}, .ca_file = id.path});
    assert_int_equal(exchange(f, &r, NEVER_MS)->status, 200);
    snprintf(url, sizeof url, "https://localhost:%d/", f->partner->port);
    assert_int_equal(exchange(f, &r, NEVER_MS)->failure, TG_CLIENT_NETWORK);
    assert_int_equal(f->partner->n_got, 1);
    drop_identity(&id);
}

/* Failing allocations never crash, and a request then either is refused or ends. */
static void survives_lack_of_memory(void **state)
{
    struct fixture *f = *state;
    for (long n = 1;; n++) {
        struct tg_client_options o = {.base = f->base, .egress = {.allow_private = true}, .proxy = NULL};
        struct tg_client *client = NULL;
        struct got g = {0};
        struct tg_request r = request_to(f, "POST", "{}");
        tg_mem_fail_after(n);
        int rc = tg_client_new(&o, &client, NULL);
        if (rc == TG_OK)
            rc = tg_client_send(client, &r, 300, done, &g, NULL, NULL);
        int failed = tg_mem_failed();
        tg_mem_fail_after(0);
        if (rc == TG_OK) {
            loop_until(f->base, is_done, &g);
            tg_free(g.body);
        }
        tg_client_free(&client);
        if (!failed)
            break;
    }
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(posts),
        T(methods),
        T(compresses),
        T(cuts_long_answers),
        T(survives_bad_encoding),
        T(cuts_long_headers),
        T(keeps_redirects),
        T(times_out),
        T(network_errors),
        T(repeats_on_a_new_connection),
        T(refuses_private_addresses),
        T(allows_listed_addresses),
        T(refuses_at_once),
        T(many_at_once),
        T(cancels),
        T(frees_with_requests_under_way),
        T(ignores_proxy_of_the_environment),
        T(uses_the_configured_proxy),
        T(checks_certificates),
        T(survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
