#include "base/url.h"

#include <arpa/inet.h>
#include <stdint.h>

/* --- parsing --- */

static bool is_alnum(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static int check_bytes(struct tg_str text, struct tg_err *err)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c <= ' ' || c >= 0x7f)
            return tg_fail(err, TG_INVALID, "URL: byte 0x%02x at offset %zu must be percent-encoded", c, i);
    }
    return TG_OK;
}

/* Cuts what stands before the first of the stops (one to four characters, the rest NUL), or all, off the
 * front of *s. Every delivery's address comes through here. */
static struct tg_str cut(struct tg_str *s, const char stops[4])
{
    const char a = stops[0], b = stops[1] ? stops[1] : a, c = stops[2] ? stops[2] : a,
               d = stops[3] ? stops[3] : a;
    size_t n = 0;
    while (n < s->n && s->p[n] != a && s->p[n] != b && s->p[n] != c && s->p[n] != d)
        n++;
    struct tg_str head = tg_str_n(s->p, n);
    *s = tg_str_n(s->p + n, s->n - n);
    return head;
}
/* The stops as four characters, whatever their number. */
#define CUT(s, stops) cut((s), (const char[4]){stops})

static int parse_scheme(struct tg_str *rest, struct tg_url *url, struct tg_err *err)
{
    struct tg_str s = *rest;
    struct tg_str scheme = CUT(&s, ":/?#");
    if (!tg_str_starts(s, "://"))
        return tg_fail(err, TG_INVALID, "URL: must begin with https:// or http://");
    if (!tg_str_ieq(scheme, "https") && !tg_str_ieq(scheme, "http"))
        return tg_fail(err, TG_INVALID, "URL: scheme \"%.*s\" is neither https nor http",
                       (int)(scheme.n < 32 ? scheme.n : 32), scheme.p);
    url->scheme = scheme;
    url->https = scheme.n == 5;
    *rest = tg_str_n(s.p + 3, s.n - 3);
    return TG_OK;
}

static int parse_port(struct tg_str text, struct tg_url *url, struct tg_err *err)
{
    int port = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9' || port > 65535)
            return tg_fail(err, TG_INVALID, "URL: the port is not a number from 1 to 65535");
        port = port * 10 + (text.p[i] - '0');
    }
    if (text.n && (port < 1 || port > 65535))
        return tg_fail(err, TG_INVALID, "URL: the port is not a number from 1 to 65535");
    url->port_text = text;
    url->port = text.n ? port : url->https ? 443 : 80;
    return TG_OK;
}

static bool is_ipv6(struct tg_str host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (host.n == 0 || host.n >= sizeof text)
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    return inet_pton(AF_INET6, text, &address) == 1;
}

/* [address] at the front of the authority. */
static int parse_bracketed(struct tg_str *authority, struct tg_url *url, struct tg_err *err)
{
    struct tg_str s = tg_str_n(authority->p + 1, authority->n - 1);
    url->host = CUT(&s, "]");
    url->ipv6 = true;
    if (s.n == 0 || !is_ipv6(url->host))
        return tg_fail(err, TG_INVALID, "URL: no IPv6 address between the brackets");
    *authority = tg_str_n(s.p + 1, s.n - 1);
    return TG_OK;
}

static int parse_name(struct tg_str *authority, struct tg_url *url, struct tg_err *err)
{
    url->host = CUT(authority, ":");
    if (url->host.n == 0)
        return tg_fail(err, TG_INVALID, "URL: the host is missing");
    if (url->host.n > 253)
        return tg_fail(err, TG_INVALID, "URL: the host is longer than 253 bytes");
    for (size_t i = 0; i < url->host.n; i++) {
        unsigned char c = (unsigned char)url->host.p[i];
        if (!is_alnum(c) && c != '-' && c != '.' && c != '_')
            return tg_fail(err, TG_INVALID, "URL: '%c' cannot be in a host name", c);
    }
    return TG_OK;
}

static int parse_authority(struct tg_str authority, struct tg_url *url, struct tg_err *err)
{
    if (authority.n && memchr(authority.p, '@', authority.n))
        return tg_fail(err, TG_INVALID,
                       "URL: user and password do not belong in a URL, give them as settings");
    int rc = authority.n && authority.p[0] == '[' ? parse_bracketed(&authority, url, err)
                                                  : parse_name(&authority, url, err);
    if (rc)
        return rc;
    if (authority.n && authority.p[0] != ':')
        return tg_fail(err, TG_INVALID, "URL: only a port may follow the brackets");
    return parse_port(authority.n ? tg_str_n(authority.p + 1, authority.n - 1) : authority, url, err);
}

int tg_url_parse(struct tg_str text, struct tg_url *url, struct tg_err *err)
{
    *url = (struct tg_url){0};
    int rc = check_bytes(text, err);
    if (!rc)
        rc = parse_scheme(&text, url, err);
    if (rc)
        return rc;
    rc = parse_authority(CUT(&text, "/?#"), url, err);
    if (rc)
        return rc;
    url->path = CUT(&text, "?#");
    if (text.n && text.p[0] == '?') {
        text = tg_str_n(text.p + 1, text.n - 1);
        url->query = CUT(&text, "#");
    }
    if (text.n)
        url->fragment = tg_str_n(text.p + 1, text.n - 1);
    return TG_OK;
}

/* --- percent-encoding --- */

/* 1 for what RFC 3986 section 2.3 calls unreserved. */
static const unsigned char unreserved[256] = {
    ['A'] = 1, ['B'] = 1, ['C'] = 1, ['D'] = 1, ['E'] = 1, ['F'] = 1, ['G'] = 1, ['H'] = 1, ['I'] = 1,
    ['J'] = 1, ['K'] = 1, ['L'] = 1, ['M'] = 1, ['N'] = 1, ['O'] = 1, ['P'] = 1, ['Q'] = 1, ['R'] = 1,
    ['S'] = 1, ['T'] = 1, ['U'] = 1, ['V'] = 1, ['W'] = 1, ['X'] = 1, ['Y'] = 1, ['Z'] = 1, ['a'] = 1,
    ['b'] = 1, ['c'] = 1, ['d'] = 1, ['e'] = 1, ['f'] = 1, ['g'] = 1, ['h'] = 1, ['i'] = 1, ['j'] = 1,
    ['k'] = 1, ['l'] = 1, ['m'] = 1, ['n'] = 1, ['o'] = 1, ['p'] = 1, ['q'] = 1, ['r'] = 1, ['s'] = 1,
    ['t'] = 1, ['u'] = 1, ['v'] = 1, ['w'] = 1, ['x'] = 1, ['y'] = 1, ['z'] = 1, ['0'] = 1, ['1'] = 1,
    ['2'] = 1, ['3'] = 1, ['4'] = 1, ['5'] = 1, ['6'] = 1, ['7'] = 1, ['8'] = 1, ['9'] = 1, ['-'] = 1,
    ['.'] = 1, ['_'] = 1, ['~'] = 1,
};

int tg_url_encode(struct tg_buf *out, struct tg_str text)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t need = text.n;
    for (size_t i = 0; i < text.n; i++) {
        if (!unreserved[(unsigned char)text.p[i]])
            need += 2;
    }
    if (need < text.n)
        return TG_TOOBIG;
    int rc = tg_buf_reserve(out, need);
    if (rc)
        return rc;
    char *to = out->data + out->len;
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (unreserved[c]) {
            *to++ = (char)c;
        } else {
            *to++ = '%';
            *to++ = digits[c >> 4];
            *to++ = digits[c & 15];
        }
    }
    out->len += need;
    return TG_OK;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int tg_url_decode(struct tg_buf *out, struct tg_str text, bool plus)
{
    int rc = tg_buf_reserve(out, text.n);
    if (rc)
        return rc;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '%' && text.n - i > 2) {
            int high = hex_digit(text.p[i + 1]), low = hex_digit(text.p[i + 2]);
            if (high >= 0 && low >= 0) {
                c = (char)(high << 4 | low);
                i += 2;
            }
        } else if (c == '+' && plus) {
            c = ' ';
        }
        out->data[out->len++] = c;
    }
    return TG_OK;
}

/* --- forms --- */

int tg_form_add(struct tg_buf *out, bool *first, struct tg_str name, struct tg_str value)
{
    size_t before = out->len;
    int rc = *first ? TG_OK : tg_buf_addc(out, '&');
    if (!rc)
        rc = tg_url_encode(out, name);
    if (!rc)
        rc = tg_buf_addc(out, '=');
    if (!rc)
        rc = tg_url_encode(out, value);
    if (rc)
        out->len = before;
    else
        *first = false;
    return rc;
}

struct tg_form_walk tg_form_walk(struct tg_str query)
{
    const char *p = query.n ? query.p : "";
    return (struct tg_form_walk){.at = p, .end = p + query.n};
}

bool tg_form_next(struct tg_form_walk *w)
{
    while (w->at < w->end && *w->at == '&')
        w->at++;
    if (w->at == w->end)
        return false;
    struct tg_str rest = tg_str_n(w->at, (size_t)(w->end - w->at));
    struct tg_str pair = CUT(&rest, "&");
    w->at = rest.p;
    w->name = CUT(&pair, "=");
    w->value = pair.n ? tg_str_n(pair.p + 1, pair.n - 1) : pair;
    return true;
}

bool tg_has_header_break(struct tg_str text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\r' || text.p[i] == '\n' || text.p[i] == '\0')
            return true;
    }
    return false;
}
