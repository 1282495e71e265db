#include "ingest/http_head_scan.h"

#include <stdint.h>
#include <string.h>

#define EACH_BYTE(c) (0x0101010101010101ULL * (unsigned char)(c))

/* The top bit of each of the eight bytes that is a control character, tab among them. Above such a byte
 * others may be marked too: only the lowest mark is sure. */
static inline uint64_t controls_in(uint64_t x)
{
    uint64_t low = x - EACH_BYTE(0x20), del = (x ^ EACH_BYTE(0x7f)) - EACH_BYTE(0x01);
    return ((low & ~x) | (del & ~(x ^ EACH_BYTE(0x7f)))) & EACH_BYTE(0x80);
}

/* Eight bytes, the first of them lowest. */
static inline uint64_t load_8(const char *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    return x;
}

/* From i on, the next byte that is a control character; len when there is none. */
static size_t next_control(const char *data, size_t i, size_t len)
{
    for (; i + 8 <= len; i += 8) {
        uint64_t found = controls_in(load_8(data + i));
        if (found)
            return i + (size_t)__builtin_ctzll(found) / 8;
    }
    while (i < len && !tg_http_is_control((unsigned char)data[i]) && data[i] != '\t')
        i++;
    return i;
}

static enum tg_http_parse check_header_line(const char *line, size_t n, struct tg_http_refusal *why)
{
    if (line[0] == ' ' || line[0] == '\t')
        return tg_http_refuse(why, TG_HTTP_MALFORMED, "a header value is continued on a new line");
    const char *colon = memchr(line, ':', n);
    if (!colon || colon == line)
        return tg_http_refuse(why, TG_HTTP_MALFORMED, "a header line has no name");
    for (const char *c = line; c < colon; c++) {
        if (!tg_http_is_token((unsigned char)*c))
            return tg_http_refuse(why, TG_HTTP_MALFORMED, "a header name contains a forbidden character");
    }
    return TG_HTTP_MORE;
}

/* The line data[s->line .. end) is complete. TG_HTTP_DONE when it was the empty one that ends the head. */
static enum tg_http_parse take_line(struct tg_http_head_scan *s, const char *data, size_t end,
                                    struct tg_http_refusal *why)
{
    bool first = tg_http_head_scan_in_first_line(s);
    if (end > s->line)
        return first ? TG_HTTP_MORE : check_header_line(data + s->line, end - s->line, why);
    if (!first)
        return TG_HTTP_DONE;
    if (s->skipped)
        return tg_http_refuse(why, TG_HTTP_MALFORMED, "empty lines before the request line");
    s->skipped = end + 2; /* some old senders put an empty line behind a body */
    return TG_HTTP_MORE;
}

enum tg_http_parse tg_http_head_scan(struct tg_http_head_scan *s, const char *data, size_t len,
                                     struct tg_http_refusal *why)
{
    size_t i = s->scanned;
    for (; (i = next_control(data, i, len)) < len; i++) {
        char c = data[i];
        if (c == '\t')
            continue;
        if (c != '\r')
            return tg_http_refuse(why, TG_HTTP_MALFORMED,
                                  c == '\n' ? "a line ends without CR" : "a control character in the head");
        if (i + 1 == len)
            break; /* the LF is still to come */
        if (data[i + 1] != '\n')
            return tg_http_refuse(why, TG_HTTP_MALFORMED, "a CR without LF");
        enum tg_http_parse rc = take_line(s, data, i, why);
        if (rc == TG_HTTP_BAD)
            return rc;
        i++;
        s->line = i + 1;
        if (rc == TG_HTTP_DONE) {
            s->length = i + 1;
            return TG_HTTP_DONE;
        }
    }
    s->scanned = i;
    return TG_HTTP_MORE;
}
