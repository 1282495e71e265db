/* All that can be touched is a list of entries by kind. An entry's name tells entries apart, its label is
 * what a person reads. Reasons are found by a scan of the script's text, not by running it: a string that
 * stands where the words below expect a reason. */
#include "script/coverage.h"

#include "base/json.h"
#include "base/mem.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { NAME_SIZE = 512, NONE = -1 };

enum kind { SETTING, ROW, REASON, KINDS };

static const char *const kind_words[KINDS] = {[SETTING] = "setting", [ROW] = "map", [REASON] = "reason"};

struct entry {
    char *name, *label;
    int part_of; /* an entry that is told instead when it is not touched itself; or NONE */
    bool touched;
    bool prefix; /* of a reason: the script adds something to it */
};

struct set {
    struct entry *v;
    int n;
};

struct tg_coverage {
    bool on;
    bool short_of_memory;
    unsigned handlers; /* bits of types */
    struct set sets[KINDS];
    struct set seen; /* reasons that came */
    char *contract;  /* JSON text */
};

int tg_coverage_new(struct tg_coverage **out)
{
    *out = tg_calloc(1, sizeof **out);
    return *out ? TG_OK : TG_NOMEM;
}

static void free_set(struct set *s)
{
    for (int i = 0; i < s->n; i++) {
        tg_free(s->v[i].name);
        tg_free(s->v[i].label);
    }
    tg_free(s->v);
}

void tg_coverage_free(struct tg_coverage **coverage)
{
    if (!*coverage)
        return;
    for (int kind = 0; kind < KINDS; kind++)
        free_set(&(*coverage)->sets[kind]);
    free_set(&(*coverage)->seen);
    tg_free((*coverage)->contract);
    tg_free(*coverage);
    *coverage = NULL;
}

void tg_coverage_on(struct tg_coverage *c, bool on)
{
    c->on = on;
}

bool tg_coverage_is_on(const struct tg_coverage *c)
{
    return c->on;
}

/* --- entries --- */

static int find(const struct set *s, const char *name)
{
    for (int i = 0; i < s->n; i++)
        if (strcmp(name, s->v[i].name) == 0)
            return i;
    return NONE;
}

static bool add(struct set *s, const char *name, const char *label)
{
    struct entry *v = tg_realloc(s->v, ((size_t)s->n + 1) * sizeof *v);
    if (!v)
        return false;
    s->v = v;
    struct entry *e = &v[s->n];
    *e = (struct entry){tg_strdup(name), tg_strdup(label), NONE, false, false};
    if (!e->name || !e->label) {
        tg_free(e->name);
        tg_free(e->label);
        return false;
    }
    s->n++;
    return true;
}

/* The entry of that name, new or known; NONE when there is no memory. */
static int note(struct tg_coverage *c, struct set *s, const char *name, const char *label, bool touched)
{
    int at = find(s, name);
    if (at == NONE) {
        if (!add(s, name, label)) {
            c->short_of_memory = true;
            return NONE;
        }
        at = s->n - 1;
    }
    s->v[at].touched = s->v[at].touched || touched;
    return at;
}

/* --- handlers and rows --- */

void tg_coverage_handler(struct tg_coverage *c, enum tg_event_type type)
{
    c->handlers |= 1u << type;
}

static void row_name(const struct tg_coverage_row *row, char *name, size_t size)
{
    (void)snprintf(name, size, "%.250srow %u (%.100s)", row->where, row->row, row->to);
}

void tg_coverage_row(struct tg_coverage *c, const struct tg_coverage_row *row, bool filled)
{
    char name[NAME_SIZE];
    if (!c->on)
        return;
    row_name(row, name, sizeof name);
    (void)note(c, &c->sets[ROW], name, name, filled);
}

void tg_coverage_part(struct tg_coverage *c, const struct tg_coverage_row *row, unsigned place,
                      const char *label, bool touched)
{
    char whole[NAME_SIZE - 20], name[NAME_SIZE], text[2 * NAME_SIZE];
    if (!c->on)
        return;
    row_name(row, whole, sizeof whole);
    (void)snprintf(name, sizeof name, "%s %u", whole, place);
    (void)snprintf(text, sizeof text, "%s %.250s", whole, label);
    int at = note(c, &c->sets[ROW], name, text, touched);
    if (at != NONE && place < TG_COVERAGE_DEFAULT)
        c->sets[ROW].v[at].part_of = find(&c->sets[ROW], whole);
}

/* --- settings --- */

static bool has_values(struct tg_str setting)
{
    return tg_json_get(setting, "values").n || tg_str_is(tg_json_get(setting, "type"), "\"boolean\"");
}

/* A setting had this value (JSON of a text or a boolean). */
static void note_value(struct tg_coverage *c, struct tg_str key, struct tg_str value, bool touched)
{
    char name[NAME_SIZE];
    struct tg_str text;
    if (!tg_json_plain(value, &text))
        text = value;
    (void)snprintf(name, sizeof name, "%.*s = %.*s", (int)key.n - 2, key.p + 1,
                   (int)(text.n < 100 ? text.n : 100), text.p);
    (void)note(c, &c->sets[SETTING], name, name, touched);
}

static void note_values(struct tg_coverage *c, struct tg_str key, struct tg_str setting)
{
    struct tg_str values = tg_json_get(setting, "values");
    if (!values.n)
        values = TG_STR("[true,false]");
    struct tg_json_walk w = tg_json_walk(values);
    while (tg_json_next(&w))
        note_value(c, key, w.value, false);
}

static void note_setting(struct tg_coverage *c, struct tg_str key, struct tg_str setting, struct tg_str given)
{
    char name[NAME_SIZE];
    struct tg_str otherwise = tg_json_get(setting, "default");
    int n = (int)(key.n < 200 ? key.n : 200) - 2;
    if (has_values(setting)) {
        note_values(c, key, setting);
        if (given.n || otherwise.n)
            note_value(c, key, given.n ? given : otherwise, true);
        return;
    }
    (void)snprintf(name, sizeof name, "%.*s", n, key.p + 1);
    (void)note(c, &c->sets[SETTING], name, name, given.n > 0);
    if (!otherwise.n)
        return;
    (void)snprintf(name, sizeof name, "%.*s left out", n, key.p + 1);
    (void)note(c, &c->sets[SETTING], name, name, !given.n);
}

/* The member of that key (with quotes). */
static struct tg_str member(struct tg_str object, struct tg_str key)
{
    struct tg_json_walk w = tg_json_walk(object);
    while (tg_json_next(&w))
        if (tg_str_eq(w.key, key))
            return w.value;
    return tg_str_n(NULL, 0);
}

void tg_coverage_settings(struct tg_coverage *c, struct tg_str contract, struct tg_str settings)
{
    struct tg_json_walk w = tg_json_walk(tg_json_get(contract, "settings"));
    while (tg_json_next(&w))
        note_setting(c, w.key, w.value, member(settings, w.key));
}

void tg_coverage_contract(struct tg_coverage *c, struct tg_str json)
{
    if (c->contract)
        return;
    c->contract = tg_strndup(json.p, json.n);
    c->short_of_memory = c->short_of_memory || !c->contract;
}

/* --- reasons --- */

/* Reasons are named "skip no_email"; where the script does not say the outcome beside the word, "? no_email".
 */
void tg_coverage_reason(struct tg_coverage *c, const char *outcome, const char *reason)
{
    char name[NAME_SIZE];
    (void)snprintf(name, sizeof name, "%s %s", outcome, reason);
    if (c->on && *reason)
        (void)note(c, &c->seen, name, name, true);
}

enum { BEFORE = 3 };

struct token {
    struct tg_str text; /* of a string: what is between its quotes */
    bool string;
};

struct scan {
    const char *at, *end;
    struct token before[BEFORE]; /* [0] is the last */
};

/* Behind [[…]] or [=[…]=] at p; p itself when none begins there. */
static const char *behind_long(const char *p, const char *end)
{
    const char *q = p + 1;
    size_t level = 0;
    for (; q < end && *q == '='; q++)
        level++;
    if (q >= end || *p != '[' || *q != '[')
        return p;
    for (; q < end; q++) {
        if (*q != ']' || (size_t)(end - q) < level + 2 || q[level + 1] != ']')
            continue;
        size_t n = 0;
        while (n < level && q[1 + n] == '=')
            n++;
        if (n == level)
            return q + level + 2;
    }
    return end;
}

static const char *behind_comment(const char *p, const char *end)
{
    const char *q = p + 2 < end && p[2] == '[' ? behind_long(p + 2, end) : p + 2;
    if (q > p + 2)
        return q;
    while (q < end && *q != '\n')
        q++;
    return q;
}

static struct token quoted(struct scan *s)
{
    char mark = *s->at++;
    const char *first = s->at;
    while (s->at < s->end && *s->at != mark)
        s->at += *s->at == '\\' && s->at + 1 < s->end ? 2 : 1;
    struct token t = {tg_str_n(first, (size_t)(s->at - first)), true};
    s->at += s->at < s->end;
    return t;
}

static void skip_space(struct scan *s)
{
    for (;;) {
        while (s->at < s->end && isspace((unsigned char)*s->at))
            s->at++;
        if (s->end - s->at < 2 || s->at[0] != '-' || s->at[1] != '-')
            return;
        s->at = behind_comment(s->at, s->end);
    }
}

static bool next_token(struct scan *s, struct token *t)
{
    skip_space(s);
    if (s->at >= s->end)
        return false;
    const char *first = s->at;
    if (*first == '"' || *first == '\'') {
        *t = quoted(s);
        return true;
    }
    s->at = *first == '[' ? behind_long(first, s->end) : first;
    if (s->at == first)
        while (s->at < s->end && (isalnum((unsigned char)*s->at) || *s->at == '_'))
            s->at++;
    s->at += s->at == first;
    *t = (struct token){tg_str_n(first, (size_t)(s->at - first)), false};
    return true;
}

static bool is_one_of(struct tg_str text, const char *const *words)
{
    for (; *words; words++)
        if (tg_str_is(text, *words))
            return true;
    return false;
}

/* skip "word", reject("word", …), { reason = "word" }, required = "word", "reject", "word": the outcome that
 * is said with it, "?" where it stands apart; empty when no reason is expected here. */
static struct tg_str outcome_before(const struct token *b)
{
    static const char *const enders[] = {"skip", "reject", "retry", NULL};
    static const char *const outcomes[] = {"retry", "reject", "park", NULL};
    if (b[0].string)
        return TG_STR("");
    if (is_one_of(b[0].text, enders))
        return b[0].text;
    if (b[1].string)
        return tg_str_is(b[0].text, ",") && is_one_of(b[1].text, outcomes) ? b[1].text : TG_STR("");
    if (tg_str_is(b[0].text, "(") && is_one_of(b[1].text, enders))
        return b[1].text;
    if (!tg_str_is(b[0].text, "="))
        return TG_STR("");
    return tg_str_is(b[1].text, "required") ? TG_STR("skip")
           : tg_str_is(b[1].text, "reason") ? TG_STR("?")
                                            : TG_STR("");
}

static bool is_word(struct tg_str text)
{
    for (size_t i = 0; i < text.n; i++)
        if (!isalnum((unsigned char)text.p[i]) && text.p[i] != '_')
            return false;
    return text.n > 0 && text.n < 100;
}

static void note_word(struct tg_coverage *c, const char *file, struct tg_str outcome, struct tg_str word,
                      bool prefix)
{
    char name[256], label[NAME_SIZE];
    (void)snprintf(name, sizeof name, "%.*s %.*s", TG_STR_ARG(outcome), TG_STR_ARG(word));
    (void)snprintf(label, sizeof label, "%s (%.250s)", *name == '?' ? name + 2 : name, file);
    int at = note(c, &c->sets[REASON], name, label, false);
    if (at != NONE && prefix)
        c->sets[REASON].v[at].prefix = true;
}

void tg_coverage_source(struct tg_coverage *c, const char *file, struct tg_str text)
{
    struct scan s = {text.p, text.p + text.n, {{{NULL, 0}, false}}};
    struct token t;
    while (next_token(&s, &t)) {
        struct tg_str outcome = outcome_before(s.before);
        if (t.string && is_word(t.text) && outcome.n) {
            skip_space(&s);
            note_word(c, file, outcome, t.text, s.end - s.at > 1 && s.at[0] == '.' && s.at[1] == '.');
        }
        memmove(s.before + 1, s.before, (BEFORE - 1) * sizeof s.before[0]);
        s.before[0] = t;
    }
}

/* Whether what came, "reject http_404", is what the script says, "reject http_" with more to come. */
static bool is_that(const char *came, const struct entry *said)
{
    const char *word = said->name;
    if (*word == '?') {
        word += 2;
        came = strchr(came, ' ') + 1;
    }
    return strncmp(came, word, strlen(word) + !said->prefix) == 0;
}

static bool was_seen(const struct tg_coverage *c, const struct entry *reason)
{
    for (int i = 0; i < c->seen.n; i++)
        if (is_that(c->seen.v[i].name, reason))
            return true;
    return false;
}

/* --- the report --- */

struct report {
    struct tg_buf *out;
    const char *indent;
    unsigned n;
    int rc;
};

static void line(struct report *r, const char *kind, struct tg_str name)
{
    r->n++;
    if (!r->rc)
        r->rc = tg_buf_printf(r->out, "%s%s %.*s\n", r->indent, kind, TG_STR_ARG(name));
}

static void untouched_handlers(const struct tg_coverage *c, struct report *r)
{
    struct tg_json_walk w = tg_json_walk(tg_json_get(tg_str_of(c->contract ? c->contract : "{}"), "accepts"));
    enum tg_event_type type;
    struct tg_str name;
    while (tg_json_next(&w))
        if (tg_json_plain(w.value, &name) && tg_event_type_parse(name, &type) && !(c->handlers & 1u << type))
            line(r, "handler", name);
}

static void untouched_entries(const struct tg_coverage *c, enum kind kind, struct report *r)
{
    const struct set *s = &c->sets[kind];
    for (int i = 0; i < s->n; i++) {
        const struct entry *e = &s->v[i];
        bool told = e->part_of != NONE && !s->v[e->part_of].touched;
        if (!e->touched && !told && !(kind == REASON && was_seen(c, e)))
            line(r, kind_words[kind], tg_str_of(e->label));
    }
}

int tg_coverage_report(const struct tg_coverage *c, const char *indent, struct tg_buf *out, unsigned *n)
{
    struct report r = {out, indent, 0, c->short_of_memory ? TG_NOMEM : TG_OK};
    untouched_handlers(c, &r);
    for (int kind = 0; kind < KINDS; kind++)
        untouched_entries(c, (enum kind)kind, &r);
    *n = r.n;
    return r.rc;
}
