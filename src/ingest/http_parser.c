/* Walk of a request: the head is scanned line by line as it arrives (scan_head: framing that llhttp is too
 * kind to). When its empty line is there, llhttp reads it in one go (read_head) and the body's framing is
 * decided (frame_body). A body of known length is only waited for; a chunked one is decoded in place by a
 * byte-wise machine (read_chunks) that knows no lenience. When the last byte came in a later call than the
 * head, the head is simply read again: that costs a microsecond for large requests and saves every waiting
 * connection a table of headers. */
#include "ingest/http_parser.h"

#include <llhttp.h>

enum state { HEAD, BODY, CHUNKS };

enum chunk_state {
    SIZE_FIRST,
    SIZE,
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_FIRST,
    TRAILER,
    TRAILER_LF,
    END_LF
};

enum { MAX_SIZE_DIGITS = 8 };

static enum tg_http_parse bad(struct tg_http_parser *p, enum tg_http_fault fault, const char *reason)
{
    p->fault = fault;
    p->reason = reason;
    return TG_HTTP_BAD;
}

void tg_http_parser_reset(struct tg_http_parser *p)
{
    memset(p, 0, sizeof *p);
}

static bool is_control(unsigned char c)
{
    return (c < 0x20 && c != '\t') || c == 0x7f;
}

/* RFC 9110 token characters. */
static const bool token_char[256] = {
    ['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true, ['!'] = true,  ['#'] = true,
    ['$'] = true,         ['%'] = true,         ['&'] = true,         ['\''] = true, ['*'] = true,
    ['+'] = true,         ['-'] = true,         ['.'] = true,         ['^'] = true,  ['_'] = true,
    ['`'] = true,         ['|'] = true,         ['~'] = true,
};

/* --- the head --- */

static enum tg_http_parse check_header_line(struct tg_http_parser *p, const char *line, size_t n)
{
    if (line[0] == ' ' || line[0] == '\t')
        return bad(p, TG_HTTP_MALFORMED, "a header value is continued on a new line");
    const char *colon = memchr(line, ':', n);
    if (!colon || colon == line)
        return bad(p, TG_HTTP_MALFORMED, "a header line has no name");
    for (const char *c = line; c < colon; c++) {
        if (!token_char[(unsigned char)*c])
            return bad(p, TG_HTTP_MALFORMED, "a header name contains a forbidden character");
    }
    return TG_HTTP_MORE;
}

/* The line data[p->line .. end) is complete. TG_HTTP_DONE when it was the empty one that ends the head. */
static enum tg_http_parse take_line(struct tg_http_parser *p, const char *data, size_t end)
{
    bool first = p->line == p->skipped;
    if (end > p->line)
        return first ? TG_HTTP_MORE : check_header_line(p, data + p->line, end - p->line);
    if (!first)
        return TG_HTTP_DONE;
    if (p->skipped)
        return bad(p, TG_HTTP_MALFORMED, "empty lines before the request line");
    p->skipped = end + 2; /* some old senders put an empty line behind a body */
    return TG_HTTP_MORE;
}

static enum tg_http_parse scan_head(struct tg_http_parser *p, const char *data, size_t len)
{
    size_t i = p->scanned;
    for (; i < len; i++) {
        unsigned char c = (unsigned char)data[i];
        if (!is_control(c))
            continue;
        if (c != '\r')
            return bad(p, TG_HTTP_MALFORMED,
                       c == '\n' ? "a line ends without CR" : "a control character in the head");
        if (i + 1 == len)
            break; /* the LF is still to come */
        if (data[i + 1] != '\n')
            return bad(p, TG_HTTP_MALFORMED, "a CR without LF");
        enum tg_http_parse rc = take_line(p, data, i);
        if (rc == TG_HTTP_BAD)
            return rc;
        i++;
        p->line = i + 1;
        if (rc == TG_HTTP_DONE) {
            p->head_len = i + 1;
            return TG_HTTP_DONE;
        }
    }
    p->scanned = i;
    return TG_HTTP_MORE;
}

struct collector {
    struct tg_http_msg *msg;
    struct tg_str url;
    bool too_many;
    bool complete;
};

static void extend(struct tg_str *s, const char *at, size_t n)
{
    if (s->p)
        s->n = (size_t)(at + n - s->p);
    else
        *s = tg_str_n(at, n);
}

static int on_url(llhttp_t *parser, const char *at, size_t n)
{
    extend(&((struct collector *)parser->data)->url, at, n);
    return 0;
}

static int on_field(llhttp_t *parser, const char *at, size_t n)
{
    struct collector *c = parser->data;
    if (c->msg->n_headers == TG_HTTP_MAX_HEADERS) {
        c->too_many = true;
        return -1;
    }
    c->msg->headers[c->msg->n_headers++] = (struct tg_http_header){tg_str_n(at, n), {NULL, 0}};
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t n)
{
    struct collector *c = parser->data;
    if (c->msg->n_headers)
        extend(&c->msg->headers[c->msg->n_headers - 1].value, at, n);
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    ((struct collector *)parser->data)->complete = true;
    return HPE_PAUSED; /* bodies are ours */
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_headers_complete,
};

static enum tg_http_method method_of(uint8_t method)
{
    switch (method) {
    case HTTP_GET:
        return TG_HTTP_GET;
    case HTTP_HEAD:
        return TG_HTTP_HEAD;
    case HTTP_POST:
        return TG_HTTP_POST;
    case HTTP_OPTIONS:
        return TG_HTTP_OPTIONS;
    default:
        return TG_HTTP_OTHER;
    }
}

static bool is_absolute(struct tg_str url)
{
    return (url.n > 7 && strncasecmp(url.p, "http://", 7) == 0) ||
           (url.n > 8 && strncasecmp(url.p, "https://", 8) == 0);
}

/* Takes scheme and host off. */
static struct tg_str without_authority(struct tg_str url)
{
    const char *end = url.p + url.n, *at = (const char *)memchr(url.p, ':', url.n) + 3;
    while (at < end && *at != '/' && *at != '?' && *at != '#')
        at++;
    return tg_str_n(at, (size_t)(end - at));
}

/* Target in origin or absolute form, cut into path and query. */
static void split_url(struct tg_http_msg *msg, struct tg_str url)
{
    bool absolute = is_absolute(url);
    if (absolute)
        url = without_authority(url);
    const char *hash = url.n ? memchr(url.p, '#', url.n) : NULL;
    if (hash)
        url.n = (size_t)(hash - url.p);
    const char *mark = url.n ? memchr(url.p, '?', url.n) : NULL;
    msg->path = mark ? tg_str_n(url.p, (size_t)(mark - url.p)) : url;
    msg->query = mark ? tg_str_n(mark + 1, (size_t)(url.p + url.n - mark - 1)) : tg_str_n(NULL, 0);
    if (absolute && msg->path.n == 0)
        msg->path = TG_STR("/");
}

/* Lets llhttp read n bytes of head into msg. What could be read stays in msg also on failure. */
static enum tg_http_parse read_head(struct tg_http_parser *p, const char *data, size_t n,
                                    struct tg_http_msg *msg)
{
    struct collector c = {.msg = msg};
    llhttp_t parser;
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    parser.data = &c;
    (void)llhttp_execute(&parser, data + p->skipped, n - p->skipped);
    msg->method = method_of(parser.method);
    msg->method_name = llhttp_method_name(parser.method);
    for (size_t i = 0; i < msg->n_headers; i++)
        msg->headers[i].value = tg_str_trim(msg->headers[i].value);
    split_url(msg, c.url);
    if (c.too_many)
        return bad(p, TG_HTTP_HEAD_SIZE, "too many headers");
    if (!c.complete)
        return bad(p, TG_HTTP_MALFORMED, parser.reason ? parser.reason : "the head does not parse");
    if (parser.http_major != 1 || parser.http_minor > 1)
        return bad(p, TG_HTTP_MALFORMED, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    msg->http10 = parser.http_minor == 0;
    msg->keep_alive = llhttp_should_keep_alive(&parser);
    return TG_HTTP_DONE;
}

static void empty_msg(struct tg_http_msg *msg)
{
    msg->n_headers = 0;
    msg->method = TG_HTTP_OTHER;
    msg->method_name = "";
    msg->path = msg->query = msg->body = tg_str_n(NULL, 0);
    msg->keep_alive = msg->http10 = false;
    msg->consumed = 0;
}

/* After a fault: the headers before it, within n bytes, so that the answer can name the right origin; of a
 * request line that is too long by itself its beginning, so that a pixel gets its picture. */
static enum tg_http_parse salvage(struct tg_http_parser *p, const char *data, size_t n,
                                  struct tg_http_msg *msg)
{
    enum tg_http_fault fault = p->fault;
    const char *reason = p->reason;
    if (n > p->skipped)
        (void)read_head(p, data, n, msg);
    return bad(p, fault, reason);
}

/* --- how the body is framed --- */

struct framing {
    struct tg_str length, coding;
    unsigned lengths, codings, hosts;
    bool expects_continue;
};

static struct framing framing_of(const struct tg_http_msg *msg)
{
    struct framing f = {.lengths = 0};
    for (size_t i = 0; i < msg->n_headers; i++) {
        const struct tg_http_header *h = &msg->headers[i];
        if (h->name.n == 14 && tg_str_ieq(h->name, "Content-Length")) {
            f.length = h->value;
            f.lengths++;
        } else if (h->name.n == 17 && tg_str_ieq(h->name, "Transfer-Encoding")) {
            f.coding = h->value;
            f.codings++;
        } else if (h->name.n == 4 && tg_str_ieq(h->name, "Host")) {
            f.hosts++;
        } else if (h->name.n == 6 && tg_str_ieq(h->name, "Expect")) {
            f.expects_continue = tg_str_ieq(h->value, "100-continue");
        }
    }
    return f;
}

static bool parse_length(struct tg_str text, uint64_t *length)
{
    *length = 0;
    if (text.n == 0 || text.n > 18)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        *length = *length * 10 + (uint64_t)(text.p[i] - '0');
    }
    return true;
}

static enum tg_http_parse frame_body(struct tg_http_parser *p, const struct tg_http_msg *msg,
                                     size_t body_limit)
{
    struct framing f = framing_of(msg);
    if (f.hosts != 1 && !(msg->http10 && f.hosts == 0))
        return bad(p, TG_HTTP_MALFORMED, f.hosts ? "more than one Host header" : "no Host header");
    if (f.lengths && f.codings)
        return bad(p, TG_HTTP_MALFORMED, "Content-Length beside Transfer-Encoding");
    if (f.lengths > 1)
        return bad(p, TG_HTTP_MALFORMED, "more than one Content-Length");
    if (f.codings > 1 || (f.codings && (msg->http10 || !tg_str_ieq(f.coding, "chunked"))))
        return bad(p, TG_HTTP_MALFORMED, "the only Transfer-Encoding known is chunked, on HTTP/1.1");
    if (f.lengths && !parse_length(f.length, &p->left))
        return bad(p, TG_HTTP_MALFORMED, "Content-Length is not a number");
    if (p->left > body_limit)
        return bad(p, TG_HTTP_BODY_SIZE, "the body exceeds the limit");
    p->state = f.codings ? CHUNKS : BODY;
    p->scanned = p->head_len;
    p->expects_continue = f.expects_continue && !msg->http10 && (f.codings || p->left);
    return TG_HTTP_DONE;
}

/* --- chunks --- */

static int hex_digit(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static void chunk_begin(struct tg_http_parser *p)
{
    p->chunk_state = SIZE_FIRST;
    p->left = 0;
    p->size_digits = 0;
}

static enum tg_http_parse size_byte(struct tg_http_parser *p, unsigned char c)
{
    int digit = hex_digit(c);
    if (digit >= 0) {
        if (++p->size_digits > MAX_SIZE_DIGITS)
            return bad(p, TG_HTTP_MALFORMED, "a chunk size has too many digits");
        p->left = p->left * 16 + (uint64_t)digit;
        p->chunk_state = SIZE;
        return TG_HTTP_MORE;
    }
    if (p->chunk_state == SIZE_FIRST || (c != '\r' && c != ';'))
        return bad(p, TG_HTTP_MALFORMED, "a chunk size is not a hexadecimal number");
    p->chunk_state = c == '\r' ? SIZE_LF : EXTENSION;
    return TG_HTTP_MORE;
}

/* A byte of a chunk extension or a trailer: dropped, but counted and checked. */
static enum tg_http_parse dropped_byte(struct tg_http_parser *p, unsigned char c, uint8_t at_cr, size_t limit)
{
    if (c == '\r') {
        p->chunk_state = at_cr;
        return TG_HTTP_MORE;
    }
    if (is_control(c))
        return bad(p, TG_HTTP_MALFORMED, "a control character between chunks");
    if (++p->framing > limit)
        return bad(p, TG_HTTP_HEAD_SIZE, "chunk extensions and trailers exceed the limit");
    return TG_HTTP_MORE;
}

static enum tg_http_parse size_ended(struct tg_http_parser *p, size_t body_limit)
{
    if (p->left == 0) {
        p->chunk_state = TRAILER_FIRST;
        return TG_HTTP_MORE;
    }
    /* The limit may have been lowered since the body began. */
    if (p->body_len > body_limit || p->left > body_limit - p->body_len)
        return bad(p, TG_HTTP_BODY_SIZE, "the body exceeds the limit");
    p->chunk_state = DATA;
    return TG_HTTP_MORE;
}

static enum tg_http_parse trailer_first(struct tg_http_parser *p, unsigned char c, size_t limit)
{
    if (c == '\r') {
        p->chunk_state = END_LF;
        return TG_HTTP_MORE;
    }
    if (!token_char[c])
        return bad(p, TG_HTTP_MALFORMED, "a trailer line has no name");
    p->chunk_state = TRAILER;
    return dropped_byte(p, c, TRAILER_LF, limit);
}

/* One byte outside chunk data. TG_HTTP_DONE: it was the last of the request. */
static enum tg_http_parse chunk_byte(struct tg_http_parser *p, unsigned char c,
                                     const struct tg_http_parse_limits *limits)
{
    bool wants_lf = p->chunk_state == SIZE_LF || p->chunk_state == DATA_LF || p->chunk_state == TRAILER_LF ||
                    p->chunk_state == END_LF;
    if (c != '\n' && wants_lf)
        return bad(p, TG_HTTP_MALFORMED, "a CR without LF between chunks");
    switch (p->chunk_state) {
    case SIZE_FIRST:
    case SIZE:
        return size_byte(p, c);
    case EXTENSION:
        return dropped_byte(p, c, SIZE_LF, limits->head);
    case SIZE_LF:
        return size_ended(p, limits->body);
    case DATA_CR:
        if (c != '\r')
            return bad(p, TG_HTTP_MALFORMED, "a chunk is longer than its size");
        p->chunk_state = DATA_LF;
        return TG_HTTP_MORE;
    case DATA_LF:
        chunk_begin(p);
        return TG_HTTP_MORE;
    case TRAILER_FIRST:
        return trailer_first(p, c, limits->head);
    case TRAILER:
        return dropped_byte(p, c, TRAILER_LF, limits->head);
    case TRAILER_LF:
        p->chunk_state = TRAILER_FIRST;
        return TG_HTTP_MORE;
    default: /* END_LF */
        return TG_HTTP_DONE;
    }
}

/* Decodes data[p->scanned .. *len) onto the end of the body. */
static enum tg_http_parse read_chunks(struct tg_http_parser *p, char *data, size_t *len,
                                      const struct tg_http_parse_limits *limits)
{
    size_t r = p->scanned, w = p->head_len + p->body_len;
    enum tg_http_parse rc = TG_HTTP_MORE;
    while (rc == TG_HTTP_MORE && r < *len) {
        if (p->chunk_state != DATA) {
            rc = chunk_byte(p, (unsigned char)data[r++], limits);
            continue;
        }
        size_t n = *len - r < p->left ? *len - r : (size_t)p->left;
        memmove(data + w, data + r, n);
        w += n;
        r += n;
        p->body_len += n;
        p->left -= n;
        if (p->left == 0)
            p->chunk_state = DATA_CR;
    }
    memmove(data + w, data + r, *len - r);
    *len = w + (*len - r);
    p->scanned = w;
    return rc;
}

/* --- the whole --- */

static enum tg_http_parse parse_head(struct tg_http_parser *p, const char *data, size_t len,
                                     const struct tg_http_parse_limits *limits, struct tg_http_msg *msg)
{
    size_t visible = len < limits->head ? len : limits->head;
    enum tg_http_parse rc = scan_head(p, data, visible);
    if (rc == TG_HTTP_MORE && len >= limits->head)
        rc = bad(p, TG_HTTP_HEAD_SIZE, "the headers exceed the limit");
    if (rc == TG_HTTP_BAD)
        return salvage(p, data, p->fault == TG_HTTP_HEAD_SIZE && p->line == p->skipped ? visible : p->line,
                       msg);
    if (rc == TG_HTTP_DONE)
        rc = read_head(p, data, p->head_len, msg);
    if (rc == TG_HTTP_DONE)
        rc = frame_body(p, msg, limits->body);
    return rc;
}

static enum tg_http_parse parse_body(struct tg_http_parser *p, char *data, size_t *len,
                                     const struct tg_http_parse_limits *limits)
{
    if (p->state == CHUNKS)
        return read_chunks(p, data, len, limits);
    if (*len - p->head_len < p->left)
        return TG_HTTP_MORE;
    p->body_len = (size_t)p->left;
    return TG_HTTP_DONE;
}

enum tg_http_parse tg_http_parse(struct tg_http_parser *p, char *data, size_t *len,
                                 const struct tg_http_parse_limits *limits, struct tg_http_msg *msg)
{
    bool fresh = p->state == HEAD;
    empty_msg(msg);
    if (fresh) {
        enum tg_http_parse rc = parse_head(p, data, *len, limits, msg);
        if (rc != TG_HTTP_DONE)
            return rc;
    }
    enum tg_http_parse rc = parse_body(p, data, len, limits);
    if (rc == TG_HTTP_BAD)
        return fresh ? rc : salvage(p, data, p->head_len, msg);
    if (rc == TG_HTTP_DONE && !fresh)
        (void)read_head(p, data, p->head_len, msg);
    if (rc == TG_HTTP_DONE) {
        msg->body = tg_str_n(data + p->head_len, p->body_len);
        msg->consumed = p->head_len + p->body_len;
    }
    return rc;
}

size_t tg_http_expected(const struct tg_http_parser *p)
{
    return p->state == BODY ? p->head_len + (size_t)p->left : 0;
}

struct tg_str tg_http_header(const struct tg_http_msg *msg, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < msg->n_headers; i++) {
        if (msg->headers[i].name.n == n && strncasecmp(msg->headers[i].name.p, name, n) == 0)
            return msg->headers[i].value;
    }
    return tg_str_n(NULL, 0);
}
