#include "ingest/item_fields.h"

static const char *const field_names[TG_FIELDS] = {
    [TG_FIELD_TYPE] = "type",
    [TG_FIELD_MESSAGE_ID] = "messageId",
    [TG_FIELD_USER_ID] = "userId",
    [TG_FIELD_ANONYMOUS_ID] = "anonymousId",
    [TG_FIELD_EVENT] = "event",
    [TG_FIELD_NAME] = "name",
    [TG_FIELD_GROUP_ID] = "groupId",
    [TG_FIELD_PREVIOUS_ID] = "previousId",
    [TG_FIELD_TIMESTAMP] = "timestamp",
    [TG_FIELD_ORIGINAL_TIMESTAMP] = "originalTimestamp",
    [TG_FIELD_SENT_AT] = "sentAt",
    [TG_FIELD_RECEIVED_AT] = "receivedAt",
    [TG_FIELD_CONTEXT] = "context",
    [TG_FIELD_INTEGRATIONS] = "integrations",
    [TG_FIELD_PROPERTIES] = "properties",
    [TG_FIELD_TRAITS] = "traits",
    [TG_FIELD_METADATA] = "_metadata",
};

/* The fields whose names have that many bytes. */
static const unsigned char by_length[][4] = {
    [4] = {TG_FIELD_TYPE, TG_FIELD_NAME, TG_FIELD_NONE},
    [5] = {TG_FIELD_EVENT, TG_FIELD_NONE},
    [6] = {TG_FIELD_USER_ID, TG_FIELD_SENT_AT, TG_FIELD_TRAITS, TG_FIELD_NONE},
    [7] = {TG_FIELD_CONTEXT, TG_FIELD_GROUP_ID, TG_FIELD_NONE},
    [9] = {TG_FIELD_MESSAGE_ID, TG_FIELD_TIMESTAMP, TG_FIELD_METADATA, TG_FIELD_NONE},
    [10] = {TG_FIELD_PROPERTIES, TG_FIELD_PREVIOUS_ID, TG_FIELD_RECEIVED_AT, TG_FIELD_NONE},
    [11] = {TG_FIELD_ANONYMOUS_ID, TG_FIELD_NONE},
    [12] = {TG_FIELD_INTEGRATIONS, TG_FIELD_NONE},
    [17] = {TG_FIELD_ORIGINAL_TIMESTAMP, TG_FIELD_NONE},
};

static bool is_known_length(size_t n)
{
    return (n >= 4 && n <= 7) || (n >= 9 && n <= 12) || n == 17;
}

/* Nobody writes these names with escapes, but they would mean the same. */
static enum tg_field escaped_field(struct tg_str key)
{
    unsigned f = 0;
    while (f < TG_FIELDS && !tg_json_key_is(key, field_names[f]))
        f++;
    return (enum tg_field)f;
}

/* key: in its quotes, without escapes. */
static enum tg_field field_of(struct tg_str key)
{
    struct tg_str name = tg_str_n(key.p + 1, key.n - 2);
    if (!is_known_length(name.n))
        return TG_FIELD_NONE;
    for (const unsigned char *f = by_length[name.n]; *f != TG_FIELD_NONE; f++) {
        if (memcmp(name.p, field_names[*f], name.n) == 0)
            return (enum tg_field) * f;
    }
    return TG_FIELD_NONE;
}

/* null and "" are as good as missing. */
static bool is_missing(struct tg_str json)
{
    return json.p[0] == 'n' || (json.n == 2 && json.p[0] == '"');
}

struct tg_str tg_item_fields(struct tg_cursor *c, struct tg_str field[TG_FIELDS])
{
    const char *first = c->at;
    struct tg_str key;
    bool escaped;
    tg_cursor_enter(c);
    while (tg_cursor_member(c, &key, &escaped)) {
        enum tg_field f = escaped ? escaped_field(key) : field_of(key);
        struct tg_str value = tg_cursor_value(c);
        if (f != TG_FIELD_NONE)
            field[f] = is_missing(value) ? tg_str_n(NULL, 0) : value;
    }
    return tg_str_n(first, (size_t)(c->at - first));
}
