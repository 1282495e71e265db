/* One pass over the text: into the envelope, into the batch, into each item, over their members' values. What
 * the envelope lends may stand behind the items (most SDKs send sentAt last), so the events are completed
 * when all is read; context is walked only when something may have to be added to it. Everything that must be
 * built (decoded ids, merged contexts) goes into the arena of the results.
 *
 * Reading is lenient where the meaning is clear: null, "" and a missing member are the same; numbers are ids
 * too; an empty array is an empty object (PHP). An item is set aside, with one of these reasons, when no
 * handler could make sense of it or when accepting it would do harm:
 *
 *     not_an_object         the item is not a JSON object
 *     event_too_large       the item as sent is larger than the limit
 *     missing_type          an item of a batch without type
 *     invalid_type          a type that is none of ours
 *     delete_not_allowed    the source may not delete, or the request came from a browser, whose key is
 * public missing_event         track without an event name missing_user_id       neither userId nor
 * anonymousId; for alias and delete: no userId missing_group_id      group without groupId
 *     missing_previous_id   alias without previousId
 *     invalid_message_id    messageId longer than MESSAGE_ID_MAX bytes: it could not serve as an idempotency
 * key invalid_context, invalid_integrations, invalid_properties, invalid_traits a value there that cannot be
 * read as an object
 *
 * Ids of another type than string and number count as missing: an event with a good anonymousId is not lost
 * for a strange userId. Times that do not parse count as missing. */
#include "ingest/normalise.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/json_cursor.h"
#include "base/mem.h"
#include "base/time.h"
#include "ingest/overlay.h"

#include <assert.h>
#include <stdio.h>

enum { MESSAGE_ID_MAX = 256, KEEP_EVENTS = 1024, SHOWN_BYTES = 40, PATH_BYTES = 48 };

/* Times are kept only within the years that can be written. */
static const int64_t first_ms = INT64_C(-62167219200000);
static const int64_t last_ms = INT64_C(253402300799999);

/* --- the request's body --- */

static int fault_of(struct tg_request_fault *fault, const char *code)
{
    fault->code = code;
    return TG_INVALID;
}

int tg_body_parse(struct tg_str text, unsigned max_depth, struct tg_str *body, struct tg_request_fault *fault)
{
    int rc = tg_json_validate(text, max_depth, body, &fault->err);
    if (rc == TG_TOOBIG) {
        (void)tg_fail(&fault->err, TG_INVALID, "the JSON is nested deeper than %u levels", max_depth);
        return fault_of(fault, "json_too_deep");
    }
    if (rc) {
        (void)tg_err_prefix(&fault->err, "the body is not valid JSON");
        return fault_of(fault, "invalid_json");
    }
    if (tg_json_type(*body) != TG_JSON_OBJECT) {
        (void)tg_fail(&fault->err, TG_INVALID, "the body must be one JSON object");
        return fault_of(fault, "invalid_request");
    }
    return TG_OK;
}

int tg_body_write_key(struct tg_str body, struct tg_buf *out)
{
    struct tg_str key = tg_json_get(body, "writeKey");
    if (!key.n || tg_str_is(key, "\"\""))
        return TG_NOTFOUND;
    switch (tg_json_type(key)) {
    case TG_JSON_STRING:
        return tg_json_text(key, out);
    case TG_JSON_NUMBER:
        return tg_buf_addstr(out, key);
    default:
        return TG_NOTFOUND;
    }
}

/* --- results --- */

void tg_items_init(struct tg_items *items)
{
    *items = (struct tg_items){.scratch = TG_BUF_INIT(SIZE_MAX)};
}

static void forget_items(struct tg_items *items)
{
    items->n_events = items->n_bad = items->merges = items->total = 0;
}

void tg_items_clear(struct tg_items *items)
{
    if (items->cap_events > KEEP_EVENTS) {
        tg_free(items->events);
        items->events = NULL;
        items->cap_events = 0;
    }
    if (items->cap_bad > KEEP_EVENTS) {
        tg_free(items->bad);
        items->bad = NULL;
        items->cap_bad = 0;
    }
    if (items->scratch.cap > 64 * 1024)
        tg_buf_fini(&items->scratch);
    forget_items(items);
    tg_arena_clear(&items->arena);
}

void tg_items_fini(struct tg_items *items)
{
    tg_free(items->events);
    tg_free(items->bad);
    tg_buf_fini(&items->scratch);
    tg_arena_fini(&items->arena);
    *items = (struct tg_items){0};
}

/* Room for one more of n things of that size; the array may move. */
static int grow(void **array, size_t *cap, size_t n, size_t size)
{
    if (n < *cap)
        return TG_OK;
    size_t more = *cap ? *cap * 2 : 16;
    void *moved = more > SIZE_MAX / size ? NULL : tg_realloc(*array, more * size);
    if (!moved)
        return TG_NOMEM;
    *array = moved;
    *cap = more;
    return TG_OK;
}

static int add_event(struct tg_items *items, const struct tg_event *ev)
{
    void *array = items->events;
    int rc = grow(&array, &items->cap_events, items->n_events, sizeof *ev);
    items->events = array;
    if (!rc)
        items->events[items->n_events++] = *ev;
    return rc;
}

static int add_bad(struct tg_items *items, const struct tg_setaside *bad)
{
    void *array = items->bad;
    int rc = grow(&array, &items->cap_bad, items->n_bad, sizeof *bad);
    items->bad = array;
    if (!rc)
        items->bad[items->n_bad++] = *bad;
    return rc;
}

/* --- one item --- */

enum field {
    TYPE,
    MESSAGE_ID,
    USER_ID,
    ANONYMOUS_ID,
    EVENT,
    NAME,
    GROUP_ID,
    PREVIOUS_ID,
    TIMESTAMP,
    ORIGINAL_TIMESTAMP,
    SENT_AT,
    RECEIVED_AT,
    CONTEXT,
    INTEGRATIONS,
    PROPERTIES,
    TRAITS,
    METADATA,
    FIELDS,
    NONE = FIELDS
};

/* What all items of a request share. */
struct request {
    const struct tg_normalise_in *in;
    struct tg_items *items;
    struct tg_request_fault *fault;
    struct tg_overlay context, integrations; /* of the envelope */
    int64_t sent_at;                         /* of the envelope or the header; TG_NO_TIME: neither */
    struct tg_str ip, user_agent;            /* as JSON; empty: not to be filled in */
    bool direct;                             /* the envelope's context says so */
};

struct item {
    struct request *rq;
    size_t index; /* in the batch */
    struct tg_str field[FIELDS];
    struct tg_event ev;
};

static const char *const field_names[FIELDS] = {
    [TYPE] = "type",
    [MESSAGE_ID] = "messageId",
    [USER_ID] = "userId",
    [ANONYMOUS_ID] = "anonymousId",
    [EVENT] = "event",
    [NAME] = "name",
    [GROUP_ID] = "groupId",
    [PREVIOUS_ID] = "previousId",
    [TIMESTAMP] = "timestamp",
    [ORIGINAL_TIMESTAMP] = "originalTimestamp",
    [SENT_AT] = "sentAt",
    [RECEIVED_AT] = "receivedAt",
    [CONTEXT] = "context",
    [INTEGRATIONS] = "integrations",
    [PROPERTIES] = "properties",
    [TRAITS] = "traits",
    [METADATA] = "_metadata",
};

/* The fields whose names have that many bytes. */
static const unsigned char by_length[][4] = {
    [4] = {TYPE, NAME, NONE},
    [5] = {EVENT, NONE},
    [6] = {USER_ID, SENT_AT, TRAITS, NONE},
    [7] = {CONTEXT, GROUP_ID, NONE},
    [9] = {MESSAGE_ID, TIMESTAMP, METADATA, NONE},
    [10] = {PROPERTIES, PREVIOUS_ID, RECEIVED_AT, NONE},
    [11] = {ANONYMOUS_ID, NONE},
    [12] = {INTEGRATIONS, NONE},
    [17] = {ORIGINAL_TIMESTAMP, NONE},
};

static bool is_known_length(size_t n)
{
    return (n >= 4 && n <= 7) || (n >= 9 && n <= 12) || n == 17;
}

static enum field field_of(struct tg_str key)
{
    struct tg_str name;
    if (!tg_json_plain(key, &name)) { /* nobody writes these with escapes, but they would mean the same */
        unsigned f = 0;
        while (f < FIELDS && !tg_json_key_is(key, field_names[f]))
            f++;
        return (enum field)f;
    }
    if (!is_known_length(name.n))
        return NONE;
    for (const unsigned char *f = by_length[name.n]; *f != NONE; f++) {
        if (memcmp(name.p, field_names[*f], name.n) == 0)
            return (enum field) * f;
    }
    return NONE;
}

/* null and "" are as good as missing. */
static bool is_missing(struct tg_str json)
{
    return tg_json_type(json) == TG_JSON_NULL || tg_str_is(json, "\"\"");
}

/* Reads the object on which the cursor stands, and leaves the cursor behind it. */
static void read_fields(struct item *it, struct tg_cursor *c)
{
    const char *first = c->at;
    struct tg_str key;
    tg_cursor_enter(c);
    while (tg_cursor_member(c, &key)) {
        enum field f = field_of(key);
        struct tg_str value = tg_cursor_value(c);
        if (f != NONE)
            it->field[f] = is_missing(value) ? tg_str_n(NULL, 0) : value;
    }
    it->ev.body = tg_str_n(first, (size_t)(c->at - first));
}

/* --- setting aside --- */

/* "batch[3]" or "event". */
static void path_of(const struct item *it, char path[PATH_BYTES])
{
    if (it->rq->in->batch)
        (void)snprintf(path, PATH_BYTES, "batch[%zu]", it->index);
    else
        (void)snprintf(path, PATH_BYTES, "event");
}

/* The beginning of a value for a message, cut between characters. */
static struct tg_str shown(struct tg_str json)
{
    if (json.n > SHOWN_BYTES) {
        json.n = SHOWN_BYTES;
        while (json.n && ((unsigned char)json.p[json.n] & 0xc0) == 0x80)
            json.n--;
    }
    return json;
}

/* The item becomes a dead letter of its source. what: the member, with its dot, or "". */
TG_PRINTF(4, 5)
static int set_aside(struct item *it, const char *reason, const char *what, const char *fmt, ...)
{
    char path[PATH_BYTES], text[512];
    path_of(it, path);
    va_list ap;
    va_start(ap, fmt);
    int n = snprintf(text, sizeof text, "%s%s: ", path, what);
    n += vsnprintf(text + n, sizeof text - (size_t)n, fmt, ap);
    va_end(ap);
    assert(n > 0 && (size_t)n < sizeof text);
    struct tg_str detail = tg_arena_copy(&it->rq->items->arena, tg_str_n(text, (size_t)n));
    if (!detail.p)
        return TG_NOMEM;
    struct tg_setaside bad = {
        .source = it->ev.source,
        .reason = tg_str_of(reason),
        .detail = detail,
        .message_id = it->ev.message_id,
        .body = it->ev.body,
        .received_at = it->ev.received_at,
    };
    return add_bad(it->rq->items, &bad);
}

/* Results of the steps beside TG_OK and the error codes: the item is done with. */
enum { SET_ASIDE = 1 };

#define REJECT(it, ...)                                                                                      \
    do {                                                                                                     \
        int rejected = set_aside(it, __VA_ARGS__);                                                           \
        return rejected ? rejected : SET_ASIDE;                                                              \
    } while (0)

/* --- texts and times --- */

static int decoded(struct item *it, struct tg_str string, struct tg_str *out)
{
    if (tg_json_plain(string, out))
        return TG_OK;
    struct tg_items *items = it->rq->items;
    tg_buf_clear(&items->scratch);
    int rc = tg_json_text(string, &items->scratch);
    if (rc)
        return rc;
    *out = tg_arena_copy(&items->arena, tg_buf_str(&items->scratch));
    return out->p ? TG_OK : TG_NOMEM;
}

static bool only_digits(struct tg_str number)
{
    for (size_t i = number.p[0] == '-'; i < number.n; i++) {
        if (number.p[i] < '0' || number.p[i] > '9')
            return false;
    }
    return true;
}

/* Digits as they are, so that none is lost; 1e3 and 1.50 as JavaScript would print them. */
static int number_text(struct item *it, struct tg_str number, struct tg_str *out)
{
    double value;
    if (only_digits(number) || !tg_json_double(number, &value)) {
        *out = number;
        return TG_OK;
    }
    struct tg_items *items = it->rq->items;
    tg_buf_clear(&items->scratch);
    int rc = tg_json_number(&items->scratch, value);
    if (rc)
        return rc;
    *out = tg_arena_copy(&items->arena, tg_buf_str(&items->scratch));
    return out->p ? TG_OK : TG_NOMEM;
}

/* The text of an id or name; empty when missing or of another type. */
static int text_of(struct item *it, enum field f, struct tg_str *out)
{
    *out = tg_str_n(NULL, 0);
    switch (tg_json_type(it->field[f])) {
    case TG_JSON_STRING:
        return decoded(it, it->field[f], out);
    case TG_JSON_NUMBER:
        return number_text(it, it->field[f], out);
    default:
        return TG_OK;
    }
}

/* Epoch milliseconds, or seconds when too small for that. */
static int64_t time_of_number(struct tg_str json)
{
    double value;
    if (!tg_json_double(json, &value))
        return TG_NO_TIME;
    if (value < 1e11 && value > -1e11)
        value *= 1000;
    return value >= (double)first_ms && value <= (double)last_ms ? (int64_t)value : TG_NO_TIME;
}

static int64_t time_of_text(struct tg_str text)
{
    int64_t ms;
    return tg_time_parse(tg_str_trim(text), &ms) ? ms : TG_NO_TIME;
}

static int64_t time_of(struct tg_str json)
{
    struct tg_str text;
    if (tg_json_type(json) == TG_JSON_NUMBER)
        return time_of_number(json);
    if (tg_json_plain(json, &text))
        return time_of_text(text);
    if (tg_json_type(json) != TG_JSON_STRING || json.n > 200)
        return TG_NO_TIME;
    struct tg_buf unescaped = TG_BUF_INIT(200);
    int64_t ms = tg_json_text(json, &unescaped) ? TG_NO_TIME : time_of_text(tg_buf_str(&unescaped));
    tg_buf_fini(&unescaped);
    return ms;
}

/* The client's clock is off by what lies between its sending and our receiving; network time is small against
 * that. */
static int64_t corrected(int64_t received_at, int64_t sent_at, int64_t original)
{
    if (original == TG_NO_TIME)
        return received_at;
    return sent_at == TG_NO_TIME ? original : received_at - (sent_at - original);
}

/* The item's own times. What the envelope has to say comes later: until then the timestamp is TG_NO_TIME. */
static void read_times(struct item *it)
{
    struct tg_event *ev = &it->ev;
    int64_t timestamp = time_of(it->field[TIMESTAMP]);
    int64_t received_at = it->rq->in->trusted ? time_of(it->field[RECEIVED_AT]) : TG_NO_TIME;
    ev->original_timestamp = time_of(it->field[ORIGINAL_TIMESTAMP]);
    ev->sent_at = time_of(it->field[SENT_AT]);
    ev->timestamp = TG_NO_TIME;
    if (received_at != TG_NO_TIME) {
        /* The first relay saw the client; this request's own envelope speaks of that relay. */
        ev->received_at = received_at;
        ev->timestamp =
            timestamp != TG_NO_TIME ? timestamp : corrected(received_at, ev->sent_at, ev->original_timestamp);
    } else if (ev->original_timestamp == TG_NO_TIME) {
        ev->original_timestamp = timestamp;
    }
}

/* --- the checks --- */

static int make_message_id(struct item *it)
{
    enum { BYTES = 16 };
    struct tg_items *items = it->rq->items;
    if (items->random_left < BYTES) {
        int rc = tg_random(items->random, sizeof items->random);
        if (rc)
            return rc;
        items->random_left = sizeof items->random;
    }
    items->random_left -= BYTES;
    char *id = tg_arena_alloc(&items->arena, TG_UUID_LEN + 1);
    if (!id)
        return TG_NOMEM;
    tg_uuid4_of(items->random + items->random_left, id);
    it->ev.message_id = tg_str_n(id, TG_UUID_LEN);
    return TG_OK;
}

static int read_message_id(struct item *it)
{
    int rc = text_of(it, MESSAGE_ID, &it->ev.message_id);
    if (rc)
        return rc;
    size_t n = it->ev.message_id.n;
    if (n > MESSAGE_ID_MAX) {
        it->ev.message_id = tg_str_n(NULL, 0);
        REJECT(it, "invalid_message_id", ".messageId",
               "%zu bytes long; send one of at most 100 characters, unique for each event", n);
    }
    return TG_OK;
}

static int read_type(struct item *it)
{
    const struct tg_normalise_in *in = it->rq->in;
    struct tg_str json = it->field[TYPE], name;
    if (!in->batch) {
        it->ev.type = in->route_type;
        return TG_OK;
    }
    if (!json.n)
        REJECT(it, "missing_type", ".type", "missing; an item of a batch needs one, such as \"track\"");
    int rc = text_of(it, TYPE, &name);
    if (rc)
        return rc;
    if (tg_str_is(name, "merge")) {
        it->rq->items->merges++;
        return SET_ASIDE;
    }
    if (!tg_event_type_parse(name, &it->ev.type)) {
        struct tg_str s = shown(json);
        REJECT(it, "invalid_type", ".type",
               "%.*s is none of track, identify, page, screen, group, alias, delete", TG_STR_ARG(s));
    }
    return TG_OK;
}

static int check_delete(struct item *it)
{
    if (it->ev.type != TG_DELETE)
        return TG_OK;
    if (it->rq->in->browser)
        REJECT(
            it, "delete_not_allowed", ".type",
            "delete is not taken from browsers, because their write keys are public; send it from a server");
    if (!it->rq->in->allow_delete)
        REJECT(it, "delete_not_allowed", ".type",
               "this source may not delete; set allow_delete = true for it");
    return TG_OK;
}

static int check_object(struct item *it, enum field f, const char *reason)
{
    static const char *const what[FIELDS] = {[CONTEXT] = ".context",
                                             [INTEGRATIONS] = ".integrations",
                                             [PROPERTIES] = ".properties",
                                             [TRAITS] = ".traits"};
    struct tg_str json = it->field[f];
    if (!json.n || tg_json_type(json) == TG_JSON_OBJECT)
        return TG_OK;
    struct tg_json_walk w = tg_json_walk(json);
    if (tg_json_type(json) == TG_JSON_ARRAY && !tg_json_next(&w)) {
        it->field[f] = tg_str_n(NULL, 0);
        return TG_OK;
    }
    struct tg_str s = shown(json);
    REJECT(it, reason, what[f], "%.*s cannot be read as an object; send {} or leave it out", TG_STR_ARG(s));
}

static int check_objects(struct item *it)
{
    int rc = check_object(it, CONTEXT, "invalid_context");
    if (!rc)
        rc = check_object(it, INTEGRATIONS, "invalid_integrations");
    if (!rc)
        rc = check_object(it, PROPERTIES, "invalid_properties");
    return rc ? rc : check_object(it, TRAITS, "invalid_traits");
}

static int require_user_id(struct item *it)
{
    if (it->ev.user_id.n)
        return TG_OK;
    REJECT(it, "missing_user_id", ".userId", "%s needs one; send a non-empty string or a number",
           tg_event_type_name(it->ev.type));
}

/* Tombstones are known by the user's id, as text with an end. */
static int check_forgetting(struct item *it)
{
    it->ev.forgets = it->rq->in->forget_on_delete;
    if (it->ev.forgets && memchr(it->ev.user_id.p, 0, it->ev.user_id.n))
        REJECT(it, "invalid_user_id", ".userId", "a user whose id has a zero character cannot be forgotten");
    return TG_OK;
}

static int check_required(struct item *it)
{
    struct tg_str previous;
    int rc;
    switch (it->ev.type) {
    case TG_ALIAS:
        rc = text_of(it, PREVIOUS_ID, &previous);
        if (!rc && !previous.n)
            REJECT(it, "missing_previous_id", ".previousId",
                   "alias needs one; send a non-empty string or a number");
        return rc ? rc : require_user_id(it);
    case TG_DELETE:
        rc = require_user_id(it);
        return rc ? rc : check_forgetting(it);
    case TG_TRACK:
        if (!it->ev.name.n)
            REJECT(it, "missing_event", ".event", "track needs the event's name; send a non-empty string");
        break;
    case TG_GROUP:
        if (!it->ev.name.n)
            REJECT(it, "missing_group_id", ".groupId",
                   "group needs one; send a non-empty string or a number");
        break;
    default:
        break;
    }
    if (!it->ev.user_id.n && !it->ev.anonymous_id.n)
        REJECT(it, "missing_user_id", ".userId",
               "neither userId nor anonymousId is there; send one of them as a non-empty string or a number");
    return TG_OK;
}

static int read_ids(struct item *it)
{
    static const enum field names[TG_EVENT_TYPES] = {
        [TG_TRACK] = EVENT,    [TG_IDENTIFY] = NONE, [TG_PAGE] = NAME,   [TG_SCREEN] = NAME,
        [TG_GROUP] = GROUP_ID, [TG_ALIAS] = NONE,    [TG_DELETE] = NONE,
    };
    int rc = text_of(it, USER_ID, &it->ev.user_id);
    if (!rc)
        rc = text_of(it, ANONYMOUS_ID, &it->ev.anonymous_id);
    enum field name = names[it->ev.type];
    return rc || name == NONE ? rc : text_of(it, name, &it->ev.name);
}

/* --- what the envelope and the connection add --- */

static bool is_true(struct tg_str json)
{
    return tg_str_is(json, "true");
}

static bool wants_ip(const struct request *rq, const struct tg_event *ev)
{
    if (!rq->ip.n)
        return false;
    if (rq->in->browser)
        return true;
    struct tg_str own = {NULL, 0};
    if (tg_json_may_have(ev->context, TG_STR("\"direct\"")))
        own = tg_json_get(ev->context, "direct");
    return own.n ? is_true(own) : rq->direct;
}

/* ev->context and ev->integrations are the item's own until here, and then what replaces them, if anything.
 */
static int merge(struct request *rq, struct tg_event *ev, size_t max_bytes)
{
    struct tg_extra extras[2];
    size_t n = 0;
    if (wants_ip(rq, ev))
        extras[n++] = (struct tg_extra){"ip", rq->ip};
    if (rq->user_agent.n)
        extras[n++] = (struct tg_extra){"userAgent", rq->user_agent};
    struct tg_arena *arena = &rq->items->arena;
    struct tg_str context = ev->context, integrations = ev->integrations;
    int rc = tg_overlay_apply(&rq->context, context, extras, n, max_bytes, arena, &ev->context);
    if (rc)
        return rc;
    return tg_overlay_apply(&rq->integrations, integrations, NULL, 0, max_bytes, arena, &ev->integrations);
}

static int complete(struct request *rq, struct tg_event *ev)
{
    if (ev->timestamp == TG_NO_TIME) {
        if (ev->sent_at == TG_NO_TIME)
            ev->sent_at = rq->sent_at;
        ev->timestamp = corrected(ev->received_at, ev->sent_at, ev->original_timestamp);
    }
    size_t left = rq->in->max_total_bytes - rq->items->total;
    int rc = merge(rq, ev, left);
    size_t size = ev->body.n + ev->context.n + ev->integrations.n;
    if (rc == TG_TOOBIG || (!rc && size > left)) {
        (void)tg_fail(
            &rq->fault->err, TG_INVALID,
            "with the envelope's context and integrations in every item the batch would be larger than "
            "%zu bytes; send smaller batches",
            rq->in->max_total_bytes);
        return fault_of(rq->fault, "request_too_large");
    }
    rq->items->total += size;
    return rc;
}

static void read_bundled(struct item *it)
{
    struct tg_str bundled = tg_json_get(it->field[METADATA], "bundled");
    struct tg_json_walk w = tg_json_walk(bundled);
    if (bundled.n && tg_json_type(bundled) == TG_JSON_ARRAY && tg_json_next(&w))
        it->ev.bundled = bundled;
}

/* --- the walk --- */

/* TG_OK: it->ev has what the item itself says. SET_ASIDE: it is in the list of bad ones, or dropped. */
static int check_item(struct item *it)
{
    struct tg_event *ev = &it->ev;
    size_t max = it->rq->in->max_event_bytes;
    int rc = read_message_id(it);
    if (!rc && ev->body.n > max)
        REJECT(it, "event_too_large", "", "%zu bytes; an event may have %zu", ev->body.n, max);
    if (!rc)
        rc = read_type(it);
    if (!rc)
        rc = check_delete(it);
    if (!rc)
        rc = read_ids(it);
    if (!rc)
        rc = check_required(it);
    if (!rc)
        rc = check_objects(it);
    if (!rc && !ev->message_id.n)
        rc = make_message_id(it);
    if (rc)
        return rc;
    read_times(it);
    read_bundled(it);
    ev->context = it->field[CONTEXT];
    ev->integrations = it->field[INTEGRATIONS];
    return TG_OK;
}

static int read_item(struct item *it, struct tg_cursor *c)
{
    if (*c->at == '{') {
        read_fields(it, c);
        return check_item(it);
    }
    it->ev.body = tg_cursor_value(c);
    struct tg_str s = shown(it->ev.body);
    REJECT(it, "not_an_object", "", "%.*s is not a JSON object", TG_STR_ARG(s));
}

static int one_item(struct request *rq, struct tg_cursor *c, size_t index)
{
    struct item it = {.rq = rq, .index = index};
    it.ev.source = rq->in->source;
    it.ev.received_at = rq->in->received_at;
    int rc = read_item(&it, c);
    if (rc == SET_ASIDE)
        return TG_OK;
    return rc ? rc : add_event(rq->items, &it.ev);
}

static int all_items(struct request *rq, struct tg_cursor *c)
{
    size_t index = 0;
    int rc = TG_OK;
    tg_cursor_enter(c);
    for (; !rc && tg_cursor_item(c); index++) {
        if (index == rq->in->max_items) {
            (void)tg_fail(&rq->fault->err, TG_INVALID, "batch: more than %zu items; send smaller batches",
                          rq->in->max_items);
            return fault_of(rq->fault, "batch_too_large");
        }
        rc = one_item(rq, c, index);
    }
    return rc;
}

/* What the batch itself says beside its items. */
struct envelope {
    bool has_items;
    struct tg_str batch; /* when it is no array */
    struct tg_str context, integrations, sent_at;
};

static int read_batch(struct request *rq, struct tg_cursor *c, struct envelope *e)
{
    forget_items(rq->items); /* of two batches the last counts, as of every member */
    e->has_items = *c->at == '[';
    if (e->has_items)
        return all_items(rq, c);
    e->batch = tg_cursor_value(c);
    return TG_OK;
}

static int read_envelope(struct request *rq, struct envelope *e)
{
    struct tg_cursor c = {rq->in->body.p, rq->in->body.p + rq->in->body.n};
    struct tg_str key;
    int rc = TG_OK;
    tg_cursor_enter(&c);
    while (!rc && tg_cursor_member(&c, &key)) {
        if (tg_json_key_is(key, "batch"))
            rc = read_batch(rq, &c, e);
        else if (tg_json_key_is(key, "context"))
            e->context = tg_cursor_value(&c);
        else if (tg_json_key_is(key, "integrations"))
            e->integrations = tg_cursor_value(&c);
        else if (tg_json_key_is(key, "sentAt"))
            e->sent_at = tg_cursor_value(&c);
        else
            (void)tg_cursor_value(&c);
    }
    return rc;
}

static int check_envelope(struct request *rq, const struct envelope *e)
{
    size_t max = rq->in->max_event_bytes;
    if (!e->has_items) {
        struct tg_str s = shown(e->batch);
        if (s.n)
            (void)tg_fail(&rq->fault->err, TG_INVALID, "batch: must be an array of events, but is %.*s",
                          TG_STR_ARG(s));
        else
            (void)tg_fail(&rq->fault->err, TG_INVALID, "batch: missing; send {\"batch\":[...]}");
        return fault_of(rq->fault, "invalid_batch");
    }
    if (e->context.n > max || e->integrations.n > max) {
        (void)tg_fail(&rq->fault->err, TG_INVALID, "%s: %zu bytes; it may have %zu",
                      e->context.n > max ? "context" : "integrations",
                      e->context.n > max ? e->context.n : e->integrations.n, max);
        return fault_of(rq->fault, "envelope_too_large");
    }
    return TG_OK;
}

static int use_envelope(struct request *rq, const struct envelope *e)
{
    int rc = check_envelope(rq, e);
    if (rc)
        return rc;
    int64_t sent_at = time_of(e->sent_at);
    if (sent_at != TG_NO_TIME)
        rq->sent_at = sent_at;
    rq->direct = is_true(tg_json_get(e->context, "direct")); /* once: it may be large, the items many */
    rc = tg_overlay_init(&rq->context, e->context, &rq->items->arena);
    return rc ? rc : tg_overlay_init(&rq->integrations, e->integrations, &rq->items->arena);
}

static int quoted(struct request *rq, struct tg_str text, struct tg_str *json)
{
    tg_buf_clear(&rq->items->scratch);
    int rc = tg_json_quote(&rq->items->scratch, text);
    if (rc)
        return rc;
    *json = tg_arena_copy(&rq->items->arena, tg_buf_str(&rq->items->scratch));
    return json->p ? TG_OK : TG_NOMEM;
}

/* What the connection tells of the client. A trusted relay has said all that it wants to say. */
static int use_connection(struct request *rq)
{
    const struct tg_normalise_in *in = rq->in;
    int rc = TG_OK;
    if (in->trusted)
        return rc;
    if (in->record_ip && in->client_ip.n)
        rc = quoted(rq, in->client_ip, &rq->ip);
    if (!rc && in->browser && in->user_agent.n)
        rc = quoted(rq, in->user_agent, &rq->user_agent);
    return rc;
}

/* The items as they stand, and what the envelope says, which may come behind them. */
static int read_request(struct request *rq)
{
    if (!rq->in->batch) {
        struct tg_cursor c = {rq->in->body.p, rq->in->body.p + rq->in->body.n};
        return one_item(rq, &c, 0);
    }
    struct envelope e = {0};
    int rc = read_envelope(rq, &e);
    return rc ? rc : use_envelope(rq, &e);
}

int tg_normalise(const struct tg_normalise_in *in, struct tg_items *items, struct tg_request_fault *fault)
{
    assert(in->batch || (unsigned)in->route_type < TG_EVENT_TYPES);
    tg_items_clear(items);
    struct request rq = {.in = in, .items = items, .fault = fault};
    rq.sent_at = time_of_text(in->sent_at_header);
    int rc = use_connection(&rq);
    if (!rc)
        rc = read_request(&rq);
    for (size_t i = 0; !rc && i < items->n_events; i++)
        rc = complete(&rq, &items->events[i]);
    if (rc)
        tg_items_clear(items);
    return rc;
}
