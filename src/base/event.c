/* The stored form of an event's normalised fields, and the bytes that a transparent destination forwards.
 *
 * Stored header, version 1. All numbers are little endian.
 *
 *     offset  bytes  what
 *     0       1      version: 1
 *     1       ...    fields, one behind the other, until the header ends:
 *                      tag     1 byte
 *                      length  1 to 5 bytes, LEB128: seven bits a byte, lowest first, top bit set on all but
 * the last value   `length` bytes
 *
 *     tag  value                                     length  written
 *     1    type: 0 track, 1 identify, 2 page,        1       always
 *          3 screen, 4 group, 5 alias, 6 delete
 *     2    source name, UTF-8                        any     when not empty
 *     3    message id, UTF-8                         >= 1    always
 *     4    user id, UTF-8                            any     when not empty
 *     5    anonymous id, UTF-8                       any     when not empty
 *     6    name (event, page name, group id), UTF-8  any     when not empty
 *     7    received at, signed ms since 1970 UTC     8       always
 *     8    timestamp, likewise                       8       always
 *     9    original timestamp, likewise              8       when known
 *     10   sent at, likewise                         8       when known
 *     11   context, JSON text                        any     when it replaces the body's own
 *     12   integrations, JSON text                   any     when it replaces the body's own
 *     13   _metadata.bundled, JSON array text        any     when not empty
 *     14   where the body's own integrations stand:  8       when known
 *          offset, length, 4 bytes each; 0 0: none
 *
 * A reader skips tags that it does not know. A tag that stands twice, one that must be there and is not, a
 * length that runs over the end or does not fit its tag make the header corrupt. Another version byte is
 * TG_BADVERSION.
 *
 * Forwarding walks the body's members once and copies the runs between the members that change. Only when a
 * member that we handle stands twice (nobody's SDK does that) is a second walk needed, because then the first
 * walk could not know which is the last. Commas: a member that is kept brings the bytes between it and the
 * member before it, cut down to the white space when nothing was written yet. */
#include "base/event.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/time.h"

#include <stddef.h>

enum { VERSION = 1, LENGTH_MAX_BYTES = 5, TIME_BYTES = 8, PLACE_BYTES = 8 };

enum tag {
    TAG_TYPE = 1,
    TAG_MESSAGE_ID = 3,
    TAG_RECEIVED_AT = 7,
    TAG_TIMESTAMP = 8,
    TAG_PLACE = 14,
    TAG_LAST = TAG_PLACE
};

enum { REQUIRED = 1u << TAG_TYPE | 1u << TAG_MESSAGE_ID | 1u << TAG_RECEIVED_AT | 1u << TAG_TIMESTAMP };

struct field {
    unsigned char tag;
    size_t at; /* in struct tg_event */
};

static const struct field spans[] = {
    {2, offsetof(struct tg_event, source)},        {TAG_MESSAGE_ID, offsetof(struct tg_event, message_id)},
    {4, offsetof(struct tg_event, user_id)},       {5, offsetof(struct tg_event, anonymous_id)},
    {6, offsetof(struct tg_event, name)},          {11, offsetof(struct tg_event, context)},
    {12, offsetof(struct tg_event, integrations)}, {13, offsetof(struct tg_event, bundled)},
};

static const struct field times[] = {
    {TAG_RECEIVED_AT, offsetof(struct tg_event, received_at)},
    {TAG_TIMESTAMP, offsetof(struct tg_event, timestamp)},
    {9, offsetof(struct tg_event, original_timestamp)},
    {10, offsetof(struct tg_event, sent_at)},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const type_names[TG_EVENT_TYPES] = {
    [TG_TRACK] = "track", [TG_IDENTIFY] = "identify", [TG_PAGE] = "page",     [TG_SCREEN] = "screen",
    [TG_GROUP] = "group", [TG_ALIAS] = "alias",       [TG_DELETE] = "delete",
};

const char *tg_event_type_name(enum tg_event_type type)
{
    return (unsigned)type < TG_EVENT_TYPES ? type_names[type] : "unknown";
}

bool tg_event_type_parse(struct tg_str name, enum tg_event_type *type)
{
    for (int i = 0; i < TG_EVENT_TYPES; i++) {
        if (tg_str_is(name, type_names[i])) {
            *type = (enum tg_event_type)i;
            return true;
        }
    }
    return false;
}

/* --- stored form --- */

static struct tg_str *span_of(struct tg_event *ev, struct field f)
{
    return (struct tg_str *)(void *)((char *)ev + f.at);
}

static int64_t *time_of(struct tg_event *ev, struct field f)
{
    return (int64_t *)(void *)((char *)ev + f.at);
}

static unsigned char *put_length(unsigned char *to, size_t n)
{
    for (; n >= 0x80; n >>= 7)
        *to++ = (unsigned char)(n | 0x80);
    *to++ = (unsigned char)n;
    return to;
}

static unsigned char *put_span(unsigned char *to, unsigned char tag, struct tg_str s)
{
    *to++ = tag;
    to = put_length(to, s.n);
    memcpy(to, s.p, s.n);
    return to + s.n;
}

static unsigned char *put_number(unsigned char *to, unsigned char tag, uint64_t value)
{
    *to++ = tag;
    *to++ = sizeof value;
    for (int shift = 0; shift < 64; shift += 8)
        *to++ = (unsigned char)(value >> shift);
    return to;
}

/* Offset and length of a span of the body. */
static uint64_t place_of(const struct tg_event *ev, struct tg_str s)
{
    return s.n ? (uint64_t)(s.p - ev->body.p) | (uint64_t)s.n << 32 : 0;
}

int tg_event_encode(const struct tg_event *ev, struct tg_buf *header)
{
    struct tg_event *fields = (struct tg_event *)(uintptr_t)ev; /* only read below */
    size_t most = 1 + 3 + COUNT(times) * (2 + TIME_BYTES) + 2 + PLACE_BYTES;
    for (size_t i = 0; i < COUNT(spans); i++) {
        struct tg_str s = *span_of(fields, spans[i]);
        if (s.n > UINT32_MAX)
            return TG_TOOBIG;
        most += 1 + LENGTH_MAX_BYTES + s.n;
    }
    int rc = tg_buf_reserve(header, most);
    if (rc)
        return rc;
    unsigned char *start = (unsigned char *)header->data + header->len, *to = start;
    *to++ = VERSION;
    to = put_span(to, TAG_TYPE, tg_str_n((const char[]){(char)ev->type}, 1));
    for (size_t i = 0; i < COUNT(times); i++) {
        int64_t ms = *time_of(fields, times[i]);
        if (ms != TG_NO_TIME)
            to = put_number(to, times[i].tag, (uint64_t)ms);
    }
    for (size_t i = 0; i < COUNT(spans); i++) {
        struct tg_str s = *span_of(fields, spans[i]);
        if (s.n)
            to = put_span(to, spans[i].tag, s);
    }
    if (ev->knows_integrations && ev->body.n <= UINT32_MAX)
        to = put_number(to, TAG_PLACE, place_of(ev, ev->body_integrations));
    header->len += (size_t)(to - start);
    return TG_OK;
}

/* Takes tag, length and value off the front of *rest. */
static bool take_field(struct tg_str *rest, unsigned char *tag, struct tg_str *value)
{
    const char *p = rest->p, *end = rest->p + rest->n;
    *tag = (unsigned char)*p++;
    uint64_t n = 0;
    for (unsigned i = 0;; i++) {
        if (p == end || i == LENGTH_MAX_BYTES)
            return false;
        unsigned char c = (unsigned char)*p++;
        n |= (uint64_t)(c & 0x7f) << (7 * i);
        if (!(c & 0x80))
            break;
    }
    if (n > (size_t)(end - p))
        return false;
    *value = tg_str_n(p, (size_t)n);
    *rest = tg_str_n(p + n, (size_t)(end - p) - (size_t)n);
    return true;
}

static uint64_t get_number(const char *p)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < sizeof value; i++)
        value |= (uint64_t)(unsigned char)p[i] << (8 * i);
    return value;
}

static bool set_place(struct tg_event *ev, struct tg_str value)
{
    if (value.n != PLACE_BYTES)
        return false;
    if (!ev->body.n)
        return true; /* only the header is asked */
    uint64_t place = get_number(value.p), at = place & UINT32_MAX, n = place >> 32;
    ev->knows_integrations = at <= ev->body.n && n <= ev->body.n - at;
    ev->body_integrations = n && ev->knows_integrations ? tg_str_n(ev->body.p + at, n) : tg_str_n(NULL, 0);
    return ev->knows_integrations;
}

static bool set_field(struct tg_event *ev, unsigned char tag, struct tg_str value)
{
    if (tag == TAG_TYPE) {
        if (value.n != 1 || (unsigned char)value.p[0] >= TG_EVENT_TYPES)
            return false;
        ev->type = (enum tg_event_type)value.p[0];
        return true;
    }
    if (tag == TAG_PLACE)
        return set_place(ev, value);
    for (size_t i = 0; i < COUNT(times); i++) {
        if (times[i].tag == tag) {
            if (value.n != TIME_BYTES)
                return false;
            *time_of(ev, times[i]) = (int64_t)get_number(value.p);
            return true;
        }
    }
    for (size_t i = 0; i < COUNT(spans); i++) {
        if (spans[i].tag == tag)
            *span_of(ev, spans[i]) = value;
    }
    return true;
}

int tg_event_decode(struct tg_str header, struct tg_str body, struct tg_event *ev, struct tg_err *err)
{
    *ev = (struct tg_event){.body = body, .original_timestamp = TG_NO_TIME, .sent_at = TG_NO_TIME};
    if (!header.n)
        return tg_fail(err, TG_CORRUPT, "event header: empty");
    if (header.p[0] != VERSION)
        return tg_fail(err, TG_BADVERSION, "event header: version %u, this build reads version %d",
                       (unsigned)(unsigned char)header.p[0], VERSION);
    struct tg_str rest = tg_str_n(header.p + 1, header.n - 1);
    unsigned seen = 0;
    while (rest.n) {
        size_t offset = header.n - rest.n;
        unsigned char tag;
        struct tg_str value;
        if (!take_field(&rest, &tag, &value))
            return tg_fail(err, TG_CORRUPT, "event header: field at byte %zu runs over the end", offset);
        if (tag > TAG_LAST)
            continue;
        if (seen & 1u << tag)
            return tg_fail(err, TG_CORRUPT, "event header: field %u stands twice (byte %zu)", tag, offset);
        seen |= 1u << tag;
        if (!set_field(ev, tag, value))
            return tg_fail(err, TG_CORRUPT, "event header: field %u at byte %zu has a bad value", tag,
                           offset);
    }
    if ((seen & REQUIRED) != REQUIRED || !ev->message_id.n)
        return tg_fail(err, TG_CORRUPT, "event header: type, message id or a time is missing");
    return TG_OK;
}

/* --- forward bytes --- */

enum member {
    TYPE,
    MESSAGE_ID,
    TIMESTAMP,
    ORIGINAL_TIMESTAMP,
    SENT_AT,
    RECEIVED_AT,
    CONTEXT,
    INTEGRATIONS,
    WRITE_KEY,
    METADATA,
    MEMBERS,
    UNTOUCHED = MEMBERS
};

static const struct tg_str member_keys[MEMBERS] = {
    [TYPE] = {"\"type\"", 6},
    [MESSAGE_ID] = {"\"messageId\"", 11},
    [TIMESTAMP] = {"\"timestamp\"", 11},
    [ORIGINAL_TIMESTAMP] = {"\"originalTimestamp\"", 19},
    [SENT_AT] = {"\"sentAt\"", 8},
    [RECEIVED_AT] = {"\"receivedAt\"", 12},
    [CONTEXT] = {"\"context\"", 9},
    [INTEGRATIONS] = {"\"integrations\"", 14},
    [WRITE_KEY] = {"\"writeKey\"", 10},
    [METADATA] = {"\"_metadata\"", 11},
};

static enum member member_of(struct tg_str key)
{
    for (unsigned i = 0; i < MEMBERS; i++) {
        if (tg_str_eq(key, member_keys[i]))
            return (enum member)i;
    }
    if (!memchr(key.p, '\\', key.n))
        return UNTOUCHED;
    for (unsigned i = 0; i < MEMBERS; i++) {
        char name[24];
        memcpy(name, member_keys[i].p + 1, member_keys[i].n - 2);
        name[member_keys[i].n - 2] = '\0';
        if (tg_json_key_is(key, name))
            return (enum member)i;
    }
    return UNTOUCHED;
}

/* What the members become; an empty span: the body's own stands, and nothing is appended. */
struct replacements {
    struct tg_str value[MEMBERS];
    char type[16];
    char times[4][TG_TIME_LEN + 3];
    struct tg_buf message_id; /* quoted */
};

static void quoted_time(struct replacements *r, enum member which, int64_t ms)
{
    if (ms == TG_NO_TIME)
        return;
    char *to = r->times[which - TIMESTAMP];
    tg_time_format(ms, to + 1);
    to[0] = to[TG_TIME_LEN + 1] = '"';
    r->value[which] = tg_str_n(to, TG_TIME_LEN + 2);
}

static int replacements_init(struct replacements *r, const struct tg_event *ev)
{
    memset(r->value, 0, sizeof r->value);
    const char *type = tg_event_type_name(ev->type);
    size_t n = strlen(type);
    r->type[0] = r->type[n + 1] = '"';
    memcpy(r->type + 1, type, n);
    r->value[TYPE] = tg_str_n(r->type, n + 2);
    quoted_time(r, TIMESTAMP, ev->timestamp);
    quoted_time(r, ORIGINAL_TIMESTAMP, ev->original_timestamp);
    quoted_time(r, SENT_AT, ev->sent_at);
    quoted_time(r, RECEIVED_AT, ev->received_at);
    r->value[CONTEXT] = ev->context;
    r->value[INTEGRATIONS] = ev->integrations;
    r->message_id = TG_BUF_INIT(SIZE_MAX);
    int rc = tg_json_quote(&r->message_id, ev->message_id);
    r->value[MESSAGE_ID] = tg_buf_str(&r->message_id);
    return rc;
}

struct rewrite {
    struct tg_buf *out;
    const struct replacements *with;
    const char *last[MEMBERS]; /* key of the last member of that name that was met */
    const char *run;           /* first byte that is still to be copied; NULL: no run is open */
    const char *done;          /* end of the member met last, or of the opening brace */
    bool any;                  /* a member was written */
    bool duplicates;
    int rc;
};

static void put(struct rewrite *rw, const char *from, const char *to)
{
    if (!rw->rc)
        rw->rc = tg_buf_add(rw->out, from, (size_t)(to - from));
}

static void close_run(struct rewrite *rw, const char *end)
{
    if (rw->run)
        put(rw, rw->run, end);
    rw->run = NULL;
}

/* Where the bytes begin that a kept member brings along: the whole gap, or what stands behind its comma when
 * this is the first member that is kept. */
static const char *gap_start(const struct rewrite *rw, const char *key)
{
    const char *comma = rw->any ? NULL : memchr(rw->done, ',', (size_t)(key - rw->done));
    return comma ? comma + 1 : rw->done;
}

static void one_member(struct rewrite *rw, const struct tg_json_walk *w, bool second)
{
    enum member m = member_of(w->key);
    bool earlier = false;
    if (m != UNTOUCHED) {
        if (second)
            earlier = rw->last[m] != w->key.p;
        else
            rw->duplicates |= rw->last[m] != NULL;
        if (!second)
            rw->last[m] = w->key.p;
    }
    if (earlier || m == WRITE_KEY || (m == METADATA && !rw->with->value[m].n)) {
        close_run(rw, rw->done);
    } else {
        if (!rw->run)
            rw->run = gap_start(rw, w->key.p);
        rw->any = true;
        if (m != UNTOUCHED && rw->with->value[m].n) {
            close_run(rw, w->value.p);
            struct tg_str v = rw->with->value[m];
            put(rw, v.p, v.p + v.n);
        }
    }
    rw->done = w->value.p + w->value.n;
}

static void append_missing(struct rewrite *rw)
{
    for (unsigned m = 0; m < MEMBERS && !rw->rc; m++) {
        struct tg_str v = rw->with->value[m];
        if (!v.n || rw->last[m])
            continue;
        if (rw->any)
            rw->rc = tg_buf_addc(rw->out, ',');
        put(rw, member_keys[m].p, member_keys[m].p + member_keys[m].n);
        if (!rw->rc)
            rw->rc = tg_buf_addc(rw->out, ':');
        put(rw, v.p, v.p + v.n);
        rw->any = true;
    }
}

static void rewrite_object(struct rewrite *rw, struct tg_str body, bool second)
{
    put(rw, body.p, body.p + 1);
    rw->done = body.p + 1;
    rw->run = NULL;
    rw->any = false;
    struct tg_json_walk w = tg_json_walk(body);
    while (tg_json_next(&w))
        one_member(rw, &w, second);
    close_run(rw, rw->done);
    append_missing(rw);
    put(rw, rw->done, body.p + body.n);
}

/* metadata: what _metadata becomes; empty: it is removed. */
static int forward(const struct tg_event *ev, struct tg_str metadata, struct tg_buf *out)
{
    struct tg_str body = tg_str_trim(ev->body);
    if (!body.n || tg_json_type(body) != TG_JSON_OBJECT)
        return TG_INVALID;
    struct replacements with;
    size_t before = out->len;
    struct rewrite rw = {.out = out, .with = &with};
    rw.rc = replacements_init(&with, ev);
    with.value[METADATA] = metadata;
    if (!rw.rc)
        rw.rc = tg_buf_reserve(out, body.n + with.message_id.len + ev->context.n + ev->integrations.n);
    if (!rw.rc)
        rewrite_object(&rw, body, false);
    if (!rw.rc && rw.duplicates) {
        out->len = before;
        rewrite_object(&rw, body, true);
    }
    tg_buf_fini(&with.message_id);
    if (rw.rc)
        out->len = before;
    return rw.rc;
}

int tg_event_forward(const struct tg_event *ev, struct tg_buf *out)
{
    return forward(ev, tg_str_n(NULL, 0), out);
}

/* Browsers name the collector itself among what they have served: no destination is called so. */
static bool served_any(struct tg_str bundled)
{
    struct tg_json_walk w = tg_json_walk(bundled);
    while (tg_json_next(&w))
        if (tg_json_type(w.value) == TG_JSON_STRING && !tg_json_key_is(w.value, "Segment.io"))
            return true;
    return false;
}

int tg_event_pass_on(const struct tg_event *ev, struct tg_buf *out)
{
    if (!ev->bundled.n || !served_any(ev->bundled))
        return tg_event_forward(ev, out);
    struct tg_buf metadata = TG_BUF_INIT(SIZE_MAX);
    int rc = tg_buf_printf(&metadata, "{\"bundled\":%.*s}", TG_STR_ARG(ev->bundled));
    if (!rc)
        rc = forward(ev, tg_buf_str(&metadata), out);
    tg_buf_fini(&metadata);
    return rc;
}
