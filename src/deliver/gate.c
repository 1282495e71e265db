/* The integrations object maps names, case-sensitive, to true, false or an object of options; `All` counts
 * for names that it does not list and is true unless said. null is as if not given. Hand-written callers send
 * other values: what JavaScript takes for false (0, "") is off, the rest on. A destination that the page
 * served itself (`_metadata.bundled`) is not served twice. */
#include "deliver/gate.h"

#include "base/event_filter.h"
#include "base/json.h"

static bool source_selected(char *const *sources, size_t n, struct tg_str source)
{
    for (size_t i = 0; i < n; i++)
        if (tg_str_is(source, sources[i]))
            return true;
    return n == 0;
}

static bool is_off(struct tg_str value)
{
    double number;
    switch (tg_json_type(value)) {
    case TG_JSON_BOOL:
        return tg_str_is(value, "false");
    case TG_JSON_STRING:
        return value.n == 2;
    case TG_JSON_NUMBER:
        return tg_json_double(value, &number) && number == 0;
    default:
        return false;
    }
}

/* An entry that says something. */
static struct tg_str entry(struct tg_str integrations, const char *name)
{
    struct tg_str value = tg_json_get(integrations, name);
    return value.n && tg_json_type(value) == TG_JSON_NULL ? tg_str_n(NULL, 0) : value;
}

static bool integration_off(struct tg_str integrations, const char *name, struct tg_str *options)
{
    struct tg_str own = entry(integrations, name);
    if (own.n) {
        if (tg_json_type(own) == TG_JSON_OBJECT)
            *options = own;
        return is_off(own);
    }
    struct tg_str all = entry(integrations, "All");
    return all.n && is_off(all);
}

static bool is_bundled(struct tg_str names, const char *name)
{
    if (!names.n || tg_json_type(names) != TG_JSON_ARRAY)
        return false;
    struct tg_json_walk w = tg_json_walk(names);
    while (tg_json_next(&w))
        if (tg_json_type(w.value) == TG_JSON_STRING && tg_json_key_is(w.value, name))
            return true;
    return false;
}

static struct tg_str integrations_of(const struct tg_event *event)
{
    if (event->integrations.n)
        return event->integrations;
    if (event->knows_integrations)
        return event->body_integrations;
    if (!tg_json_may_have(event->body, TG_STR("\"integrations\"")))
        return tg_str_n(NULL, 0);
    return tg_json_get(event->body, "integrations");
}

/* Asked only where the event says anything of consent: a consent object with preferences in it. Empty
 * preferences allow nothing. */
static bool consents(const struct tg_gate_rules *rules, const struct tg_event *event)
{
    struct tg_str context = event->context.n ? event->context : event->body;
    if (!rules->n_consent || !tg_json_may_have(context, TG_STR("\"consent\"")))
        return true;
    if (!event->context.n)
        context = tg_json_get(context, "context");
    struct tg_str preferences = tg_json_get(tg_json_get(context, "consent"), "categoryPreferences");
    if (!preferences.n || tg_json_type(preferences) == TG_JSON_NULL)
        return true;
    for (size_t i = 0; i < rules->n_consent; i++)
        if (!tg_str_is(tg_json_get(preferences, rules->consent[i]), "true"))
            return false;
    return true;
}

const char *tg_gate(const struct tg_dest *dest, const struct tg_gate_rules *rules,
                    const struct tg_event *event, struct tg_str *options)
{
    *options = tg_str_n(NULL, 0);
    if (!source_selected(rules->sources, rules->n_sources, event->source))
        return "source_not_selected";
    if (!(dest->accepts & (1u << event->type)))
        return "type_not_accepted";
    if (!consents(rules, event))
        return "no_consent";
    if (dest->transparent)
        return NULL;
    struct tg_str integrations = integrations_of(event);
    if (integrations.n && tg_json_type(integrations) == TG_JSON_OBJECT &&
        integration_off(integrations, dest->integration, options))
        return "integration_off";
    return is_bundled(event->bundled, dest->integration) ? "bundled" : NULL;
}

/* `said` holds what the function returned. */
static int ask_filter(struct tg_dest *dest, const struct tg_event *event, uint64_t seq, struct tg_buf *said,
                      struct tg_str *spec, bool *passes, struct tg_err *err)
{
    int rc = tg_dest_filter(dest, event, seq, said, passes, err);
    if (rc || !*passes || !said->len)
        return rc;
    rc = tg_json_validate(tg_buf_str(said), TG_JSON_MAX_DEPTH, spec, err);
    return rc ? rc : tg_filter_check(*spec, err);
}

int tg_gate_filter(struct tg_dest *dest, const char *table, const struct tg_event *event, uint64_t seq,
                   struct tg_buf *bytes, struct tg_event *shown, const char **held, struct tg_err *err)
{
    struct tg_buf said = TG_BUF_INIT((size_t)TG_FILTER_MAX);
    struct tg_str spec = tg_str_of(table ? table : "");
    bool passes = true;
    *shown = *event;
    int rc = dest->has_filter ? ask_filter(dest, event, seq, &said, &spec, &passes, err) : TG_OK;
    *held = passes ? NULL : "filtered";
    if (!rc && passes && spec.n)
        rc = tg_filter_apply(spec, event, bytes, shown, held);
    tg_buf_fini(&said);
    return rc;
}
