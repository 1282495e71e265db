#include "ingest/item.h"

#include "base/clock.h"
#include "base/digest.h"
#include "ingest/item_values.h"
#include "ingest/set_aside.h"

enum { MESSAGE_ID_MAX = 256 };

static int make_message_id(struct tg_item *it)
{
    enum { BYTES = 16 };
    struct tg_items *items = it->items;
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

static int read_message_id(struct tg_item *it)
{
    int rc = tg_item_text(it->items, it->field[TG_FIELD_MESSAGE_ID], &it->ev.message_id);
    if (rc)
        return rc;
    size_t n = it->ev.message_id.n;
    if (n > MESSAGE_ID_MAX) {
        it->ev.message_id = tg_str_n(NULL, 0);
        return tg_set_aside(it, "invalid_message_id", ".messageId",
                            "%zu bytes long; send one of at most 100 characters, unique for each event", n);
    }
    return TG_OK;
}

static int read_type(struct tg_item *it)
{
    const struct tg_normalise_in *in = it->in;
    struct tg_str json = it->field[TG_FIELD_TYPE], name;
    if (!in->batch) {
        it->ev.type = in->route_type;
        return TG_OK;
    }
    if (!json.n)
        return tg_set_aside(it, "missing_type", ".type",
                            "missing; an item of a batch needs one, such as \"track\"");
    int rc = tg_item_text(it->items, it->field[TG_FIELD_TYPE], &name);
    if (rc)
        return rc;
    if (tg_str_is(name, "merge")) {
        it->items->merges++;
        return TG_ITEM_DONE;
    }
    if (!tg_event_type_parse(name, &it->ev.type)) {
        struct tg_str s = tg_shown(json);
        return tg_set_aside(it, "invalid_type", ".type",
                            "%.*s is none of track, identify, page, screen, group, alias, delete",
                            TG_STR_ARG(s));
    }
    return TG_OK;
}

static int check_delete(struct tg_item *it)
{
    if (it->ev.type != TG_DELETE)
        return TG_OK;
    if (it->in->browser)
        return tg_set_aside(
            it, "delete_not_allowed", ".type",
            "delete is not taken from browsers, because their write keys are public; send it from a server");
    if (!it->in->allow_delete)
        return tg_set_aside(it, "delete_not_allowed", ".type",
                            "this source may not delete; set allow_delete = true for it");
    return TG_OK;
}

static int check_object(struct tg_item *it, enum tg_field f, const char *reason)
{
    static const char *const what[TG_FIELDS] = {[TG_FIELD_CONTEXT] = ".context",
                                                [TG_FIELD_INTEGRATIONS] = ".integrations",
                                                [TG_FIELD_PROPERTIES] = ".properties",
                                                [TG_FIELD_TRAITS] = ".traits"};
    struct tg_str json = it->field[f];
    if (!json.n || tg_json_type(json) == TG_JSON_OBJECT)
        return TG_OK;
    struct tg_json_walk w = tg_json_walk(json);
    if (tg_json_type(json) == TG_JSON_ARRAY && !tg_json_next(&w)) {
        it->field[f] = tg_str_n(NULL, 0);
        return TG_OK;
    }
    struct tg_str s = tg_shown(json);
    return tg_set_aside(it, reason, what[f], "%.*s cannot be read as an object; send {} or leave it out",
                        TG_STR_ARG(s));
}

static int check_objects(struct tg_item *it)
{
    int rc = check_object(it, TG_FIELD_CONTEXT, "invalid_context");
    if (!rc)
        rc = check_object(it, TG_FIELD_INTEGRATIONS, "invalid_integrations");
    if (!rc)
        rc = check_object(it, TG_FIELD_PROPERTIES, "invalid_properties");
    return rc ? rc : check_object(it, TG_FIELD_TRAITS, "invalid_traits");
}

static int require_user_id(struct tg_item *it)
{
    if (it->ev.user_id.n)
        return TG_OK;
    return tg_set_aside(it, "missing_user_id", ".userId", "%s needs one; send a non-empty string or a number",
                        tg_event_type_name(it->ev.type));
}

/* Tombstones are known by the user's id, as text with an end. */
static int check_forgetting(struct tg_item *it)
{
    it->ev.forgets = it->in->forget_on_delete;
    if (it->ev.forgets && memchr(it->ev.user_id.p, 0, it->ev.user_id.n))
        return tg_set_aside(it, "invalid_user_id", ".userId",
                            "a user whose id has a zero character cannot be forgotten");
    return TG_OK;
}

static int check_required(struct tg_item *it)
{
    struct tg_str previous;
    int rc;
    switch (it->ev.type) {
    case TG_ALIAS:
        rc = tg_item_text(it->items, it->field[TG_FIELD_PREVIOUS_ID], &previous);
        if (!rc && !previous.n)
            return tg_set_aside(it, "missing_previous_id", ".previousId",
                                "alias needs one; send a non-empty string or a number");
        return rc ? rc : require_user_id(it);
    case TG_DELETE:
        rc = require_user_id(it);
        return rc ? rc : check_forgetting(it);
    case TG_TRACK:
        if (!it->ev.name.n)
            return tg_set_aside(it, "missing_event", ".event",
                                "track needs the event's name; send a non-empty string");
        break;
    case TG_GROUP:
        if (!it->ev.name.n)
            return tg_set_aside(it, "missing_group_id", ".groupId",
                                "group needs one; send a non-empty string or a number");
        break;
    default:
        break;
    }
    if (!it->ev.user_id.n && !it->ev.anonymous_id.n)
        return tg_set_aside(
            it, "missing_user_id", ".userId",
            "neither userId nor anonymousId is there; send one of them as a non-empty string or a number");
    return TG_OK;
}

static int read_ids(struct tg_item *it)
{
    static const enum tg_field names[TG_EVENT_TYPES] = {
        [TG_TRACK] = TG_FIELD_EVENT, [TG_IDENTIFY] = TG_FIELD_NONE,  [TG_PAGE] = TG_FIELD_NAME,
        [TG_SCREEN] = TG_FIELD_NAME, [TG_GROUP] = TG_FIELD_GROUP_ID, [TG_ALIAS] = TG_FIELD_NONE,
        [TG_DELETE] = TG_FIELD_NONE,
    };
    int rc = tg_item_text(it->items, it->field[TG_FIELD_USER_ID], &it->ev.user_id);
    if (!rc)
        rc = tg_item_text(it->items, it->field[TG_FIELD_ANONYMOUS_ID], &it->ev.anonymous_id);
    enum tg_field name = names[it->ev.type];
    return rc || name == TG_FIELD_NONE ? rc : tg_item_text(it->items, it->field[name], &it->ev.name);
}

/* The item's own times. What the envelope has to say comes later: until then the timestamp is TG_NO_TIME. */
static void read_times(struct tg_item *it)
{
    struct tg_event *ev = &it->ev;
    int64_t timestamp = tg_item_time(it->field[TG_FIELD_TIMESTAMP]);
    int64_t received_at = it->in->trusted ? tg_item_time(it->field[TG_FIELD_RECEIVED_AT]) : TG_NO_TIME;
    ev->original_timestamp = tg_item_time(it->field[TG_FIELD_ORIGINAL_TIMESTAMP]);
    ev->sent_at = tg_item_time(it->field[TG_FIELD_SENT_AT]);
    ev->timestamp = TG_NO_TIME;
    if (received_at != TG_NO_TIME) {
        /* The first relay saw the client; this request's own envelope speaks of that relay. */
        ev->received_at = received_at;
        ev->timestamp = timestamp != TG_NO_TIME
                            ? timestamp
                            : tg_item_corrected_time(received_at, ev->sent_at, ev->original_timestamp);
    } else if (ev->original_timestamp == TG_NO_TIME) {
        ev->original_timestamp = timestamp;
    }
}

static void read_bundled(struct tg_item *it)
{
    struct tg_str bundled = tg_json_get(it->field[TG_FIELD_METADATA], "bundled");
    struct tg_json_walk w = tg_json_walk(bundled);
    if (bundled.n && tg_json_type(bundled) == TG_JSON_ARRAY && tg_json_next(&w))
        it->ev.bundled = bundled;
}

static int check_item(struct tg_item *it)
{
    struct tg_event *ev = &it->ev;
    size_t max = it->in->max_event_bytes;
    int rc = read_message_id(it);
    if (!rc && ev->body.n > max)
        return tg_set_aside(it, "event_too_large", "", "%zu bytes; an event may have %zu", ev->body.n, max);
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
    ev->context = it->field[TG_FIELD_CONTEXT];
    ev->integrations = ev->body_integrations = it->field[TG_FIELD_INTEGRATIONS];
    ev->knows_integrations = true;
    return TG_OK;
}

struct tg_item tg_item_of(const struct tg_normalise_in *in, struct tg_items *items, size_t index)
{
    struct tg_item it = {.in = in, .items = items, .index = index};
    it.ev.source = in->source;
    it.ev.received_at = in->received_at;
    return it;
}

int tg_item_read(struct tg_item *it, struct tg_cursor *c)
{
    if (*c->at == '{') {
        it->ev.body = tg_item_fields(c, it->field);
        return check_item(it);
    }
    it->ev.body = tg_cursor_value(c);
    struct tg_str s = tg_shown(it->ev.body);
    return tg_set_aside(it, "not_an_object", "", "%.*s is not a JSON object", TG_STR_ARG(s));
}
