#include "daemon/snapshot.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/mem.h"
#include "script/sources.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char MAGIC[] = "tidegate snapshot 2\n";

/* --- freeing --- */

static void free_strings(char **v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        tg_free(v[i]);
    tg_free(v);
}

void tg_snapshot_free(struct tg_snapshot **snapshot)
{
    struct tg_snapshot *s = *snapshot;
    if (!s)
        return;
    free_strings(s->plain.listen, s->plain.n_listen);
    free_strings(s->plain.destinations, s->plain.n_destinations);
    tg_free(s->plain.admin);
    tg_free(s->plain.spool_path);
    tg_free(s->plain.log_level);
    tg_config_text_fini(&s->text);
    tg_script_source_fini(&s->library);
    for (size_t i = 0; i < s->n_scripts; i++)
        tg_script_source_fini(&s->scripts[i]);
    tg_free(s->scripts);
    tg_free(s);
    *snapshot = NULL;
}

const struct tg_script_source *tg_snapshot_script(const struct tg_snapshot *s, const char *name)
{
    for (size_t i = 0; i < s->n_scripts; i++) {
        if (strcmp(s->scripts[i].name, name) == 0)
            return &s->scripts[i];
    }
    return NULL;
}

/* --- building --- */

static char *copy_or_null(const char *s, bool *ok)
{
    char *copy = s ? tg_strdup(s) : NULL;
    if (s && !copy)
        *ok = false;
    return copy;
}

static bool fill_plain(struct tg_plain *p, const struct tg_config *c)
{
    bool ok = true;
    p->listen = tg_calloc(c->n_listen, sizeof *p->listen);
    p->destinations = tg_calloc(c->n_destinations, sizeof *p->destinations);
    if (!p->listen || !p->destinations)
        return false;
    for (size_t i = 0; i < c->n_listen; i++)
        p->listen[p->n_listen++] = copy_or_null(c->listen[i].addr, &ok);
    for (size_t i = 0; i < c->n_destinations; i++)
        p->destinations[p->n_destinations++] = copy_or_null(c->destinations[i].name, &ok);
    p->admin = copy_or_null(c->admin, &ok);
    p->spool_path = copy_or_null(c->spool.path, &ok);
    p->log_level = copy_or_null(c->log.level, &ok);
    p->log_json = c->log.json;
    p->workers = c->workers;
    p->stop_ms = c->stop_ms;
    p->hard_ms = c->script.hard_ms;
    p->hang_ms = c->hang_ms;
    p->reload_on_change = c->reload_on_change;
    p->dedup_window_ms = c->dedup.window_ms;
    p->dedup_entries = c->dedup.max_entries;
    return ok;
}

static void add_script(struct tg_snapshot *s, const struct tg_config *c,
                       const struct tg_destination_config *d, struct tg_problems *problems)
{
    struct tg_err err = {0};
    char path[128];
    if (tg_snapshot_script(s, d->script))
        return;
    (void)snprintf(path, sizeof path, "destinations.%s.script", d->name);
    struct tg_script_source *more = tg_realloc(s->scripts, (s->n_scripts + 1) * sizeof *more);
    if (!more) {
        tg_problem_add(problems, NULL, path, "out of memory");
        return;
    }
    s->scripts = more;
    if (tg_script_source_find((const char *const *)c->scripts.v, c->scripts.n, d->script, &more[s->n_scripts],
                              &err))
        tg_problem_add(problems, NULL, path, "%s", err.msg);
    else
        s->n_scripts++;
}

static char *joined(const char *kind, const char *name)
{
    size_t n = strlen(kind) + strlen(name) + 1;
    char *text = tg_malloc(n);
    if (text)
        (void)snprintf(text, n, "%s%s", kind, name);
    return text;
}

int tg_snapshot_config_source(const struct tg_snapshot *s, struct tg_script_source *out)
{
    const struct tg_config_text *t = &s->text;
    struct tg_script_file *files = tg_calloc(t->n_inputs + 1, sizeof *files);
    *out = (struct tg_script_source){.name = t->path, .files = files};
    if (!files)
        return TG_NOMEM;
    files[0] = (struct tg_script_file){joined("", t->path), t->path, tg_str_n(t->text, t->len)};
    out->n_files = 1;
    bool good = files[0].name != NULL;
    for (size_t i = 0; good && i < t->n_inputs; i++) {
        const struct tg_config_input *in = &t->inputs[i];
        if (!in->value)
            continue;
        char *name = joined(in->kind == TG_INPUT_ENV ? "env:" : "file:", in->name);
        files[out->n_files++] = (struct tg_script_file){name, in->name, tg_str_n(in->value, in->len)};
        good = name != NULL;
    }
    if (!good)
        tg_snapshot_config_source_fini(out);
    return good ? TG_OK : TG_NOMEM;
}

void tg_snapshot_config_source_fini(struct tg_script_source *source)
{
    for (size_t i = 0; i < source->n_files; i++)
        tg_free((void *)(uintptr_t)source->files[i].name);
    tg_free((void *)(uintptr_t)source->files);
    *source = (struct tg_script_source){0};
}

/* Loads every destination once into a host of its own: that is the check. */
static void check_destinations(const struct tg_snapshot *s, const struct tg_config *c,
                               struct tg_problems *problems)
{
    struct tg_err err = {0};
    struct tg_host *host = NULL;
    struct tg_host_options options = {
        .memory_bytes = c->script.memory_bytes,
        .soft_limit_us = c->script.soft_ms * 1000,
        .allow_private = c->egress.allow_private,
        .library = s->library,
        .fixed_now = TG_NO_TIME,
    };
    if (tg_host_new(&options, &host, &err)) {
        tg_problem_add(problems, NULL, NULL, "%s", err.msg);
        return;
    }
    struct tg_script_source config;
    if (tg_snapshot_config_source(s, &config))
        tg_problem_add(problems, NULL, NULL, "out of memory");
    for (size_t i = 0; config.n_files && i < c->n_destinations; i++) {
        const struct tg_destination_config *d = &c->destinations[i];
        char path[160];
        (void)snprintf(path, sizeof path, "destinations.%s.settings", d->name);
        struct tg_dest_spec spec = {d->name, path, tg_str_of(d->settings), tg_snapshot_script(s, d->script),
                                    d->has_filter ? &config : NULL};
        struct tg_dest *dest = NULL;
        if (spec.source && tg_dest_load(host, &spec, &dest, problems) == TG_OK)
            tg_dest_free(&dest);
    }
    tg_snapshot_config_source_fini(&config);
    tg_host_free(&host);
}

static void build(struct tg_snapshot *s, const struct tg_config *c, struct tg_problems *problems)
{
    struct tg_err err = {0};
    if (!fill_plain(&s->plain, c))
        tg_problem_add(problems, NULL, NULL, "out of memory");
    if (tg_script_library_find(c->lua_path, &s->library, &err)) {
        tg_problem_add(problems, NULL, "lua_path", "%s", err.msg);
        return;
    }
    for (size_t i = 0; i < c->n_destinations; i++)
        add_script(s, c, &c->destinations[i], problems);
    check_destinations(s, c, problems);
}

struct tg_snapshot *tg_snapshot_build(const char *config_path, uint64_t generation, struct tg_config **config,
                                      struct tg_problems *problems)
{
    struct tg_err err = {0};
    struct tg_config *c = NULL;
    struct tg_snapshot *s = tg_calloc(1, sizeof *s);
    if (!s) {
        tg_problem_add(problems, NULL, NULL, "out of memory");
        return NULL;
    }
    s->generation = generation;
    if (tg_config_text_read(&s->text, config_path, &err))
        tg_problem_add(problems, NULL, NULL, "%s", err.msg);
    else
        c = tg_config_load(&s->text, problems);
    if (c)
        build(s, c, problems);
    if (tg_problems_any(problems))
        tg_snapshot_free(&s);
    if (config && s)
        *config = c;
    else
        tg_config_free(&c);
    return s;
}

/* --- bytes: numbers as decimal text, strings as "<length>:<bytes>", absent ones as "-" --- */

static int put_number(struct tg_buf *out, uint64_t n)
{
    return tg_buf_printf(out, "%llu;", (unsigned long long)n);
}

static int put_bytes(struct tg_buf *out, const char *p, size_t n)
{
    if (!p)
        return tg_buf_adds(out, "-");
    int rc = tg_buf_printf(out, "%zu:", n);
    return rc ? rc : tg_buf_add(out, p, n);
}

static int put_text(struct tg_buf *out, const char *z)
{
    return put_bytes(out, z, z ? strlen(z) : 0);
}

static int put_texts(struct tg_buf *out, char *const *v, size_t n)
{
    int rc = put_number(out, n);
    for (size_t i = 0; !rc && i < n; i++)
        rc = put_text(out, v[i]);
    return rc;
}

static int put_source(struct tg_buf *out, const struct tg_script_source *s)
{
    int rc = put_text(out, s->name);
    if (!rc)
        rc = put_number(out, s->n_files);
    for (size_t i = 0; !rc && i < s->n_files; i++) {
        rc = put_text(out, s->files[i].name);
        if (!rc)
            rc = put_text(out, s->files[i].path);
        if (!rc)
            rc = put_bytes(out, s->files[i].text.n ? s->files[i].text.p : "", s->files[i].text.n);
    }
    return rc;
}

static int put_plain(struct tg_buf *out, const struct tg_plain *p)
{
    int rc = put_texts(out, p->listen, p->n_listen);
    if (!rc)
        rc = put_texts(out, p->destinations, p->n_destinations);
    if (!rc)
        rc = put_text(out, p->admin);
    if (!rc)
        rc = put_text(out, p->spool_path);
    if (!rc)
        rc = put_text(out, p->log_level);
    const uint64_t numbers[] = {p->log_json,          p->workers,           (uint64_t)p->stop_ms,
                                (uint64_t)p->hard_ms, (uint64_t)p->hang_ms, (uint64_t)p->dedup_window_ms,
                                p->dedup_entries,     p->reload_on_change};
    for (size_t i = 0; !rc && i < sizeof numbers / sizeof numbers[0]; i++)
        rc = put_number(out, numbers[i]);
    return rc;
}

/* The text, and what env() and file() gave. */
static int put_config(struct tg_buf *out, const struct tg_config_text *t)
{
    int rc = put_bytes(out, t->text, t->len);
    if (!rc)
        rc = put_number(out, t->n_inputs);
    for (size_t i = 0; !rc && i < t->n_inputs; i++) {
        rc = put_number(out, (uint64_t)t->inputs[i].kind);
        if (!rc)
            rc = put_text(out, t->inputs[i].name);
        if (!rc)
            rc = put_bytes(out, t->inputs[i].value, t->inputs[i].len);
    }
    return rc;
}

int tg_snapshot_write(const struct tg_snapshot *s, struct tg_buf *out)
{
    int rc = tg_buf_adds(out, MAGIC);
    if (!rc)
        rc = put_number(out, s->generation);
    if (!rc)
        rc = put_plain(out, &s->plain);
    if (!rc)
        rc = put_text(out, s->text.path);
    if (!rc)
        rc = put_config(out, &s->text);
    if (!rc)
        rc = put_source(out, &s->library);
    if (!rc)
        rc = put_number(out, s->n_scripts);
    for (size_t i = 0; !rc && i < s->n_scripts; i++)
        rc = put_source(out, &s->scripts[i]);
    return rc ? rc : tg_buf_adds(out, "end");
}

/* As put_source, without where the files lie. */
static int put_contents(struct tg_buf *out, const struct tg_script_source *s)
{
    int rc = put_text(out, s->name);
    for (size_t i = 0; !rc && i < s->n_files; i++) {
        rc = put_text(out, s->files[i].name);
        if (!rc)
            rc = put_bytes(out, s->files[i].text.n ? s->files[i].text.p : "", s->files[i].text.n);
    }
    return rc;
}

int tg_snapshot_digest(const struct tg_snapshot *s, char hex[TG_SNAPSHOT_DIGEST + 1])
{
    struct tg_buf bytes = TG_BUF_INIT(TG_SNAPSHOT_MAX), text = TG_BUF_INIT(TG_SNAPSHOT_DIGEST + 1);
    unsigned char digest[TG_DIGEST_MAX];
    size_t len;
    int rc = put_config(&bytes, &s->text);
    if (!rc)
        rc = put_contents(&bytes, &s->library);
    for (size_t i = 0; !rc && i < s->n_scripts; i++)
        rc = put_contents(&bytes, &s->scripts[i]);
    if (!rc)
        rc = tg_digest(TG_SHA256, tg_buf_str(&bytes), digest, &len);
    if (!rc)
        rc = tg_hex(&text, digest, len);
    (void)snprintf(hex, TG_SNAPSHOT_DIGEST + 1, "%.*s", rc ? 0 : (int)text.len, rc ? "" : text.data);
    tg_buf_fini(&bytes);
    tg_buf_fini(&text);
    return rc;
}

struct in {
    const char *at, *end;
    bool bad;
};

static uint64_t get_number(struct in *in, char stop)
{
    uint64_t n = 0;
    const char *begin = in->at;
    while (in->at < in->end && *in->at >= '0' && *in->at <= '9')
        n = n * 10 + (uint64_t)(*in->at++ - '0');
    if (in->at == begin || in->at >= in->end || *in->at != stop) {
        in->bad = true;
        return 0;
    }
    in->at++;
    return n;
}

/* Freed by the caller; NULL for an absent one. */
static char *get_bytes(struct in *in, size_t *len)
{
    *len = 0;
    if (in->bad)
        return NULL;
    if (in->at < in->end && *in->at == '-') {
        in->at++;
        return NULL;
    }
    uint64_t n = get_number(in, ':');
    if (in->bad || n > (uint64_t)(in->end - in->at)) {
        in->bad = true;
        return NULL;
    }
    char *copy = tg_strndup(in->at, (size_t)n);
    in->at += n;
    *len = (size_t)n;
    in->bad |= !copy;
    return copy;
}

static char *get_text(struct in *in)
{
    size_t n;
    return get_bytes(in, &n);
}

/* An array of at most a million; bad when there is no memory. */
static void *get_array(struct in *in, size_t size, size_t *n)
{
    uint64_t count = get_number(in, ';');
    void *v = count <= 1000000 && !in->bad ? tg_calloc((size_t)count, size) : NULL;
    in->bad |= !v;
    *n = in->bad ? 0 : (size_t)count;
    return v;
}

static char **get_texts(struct in *in, size_t *n)
{
    char **v = get_array(in, sizeof *v, n);
    for (size_t i = 0; i < *n; i++)
        v[i] = get_text(in);
    return v;
}

static void get_source(struct in *in, struct tg_script_source *s)
{
    s->name = get_text(in);
    struct tg_script_file *files = get_array(in, sizeof *files, &s->n_files);
    s->files = files;
    for (size_t i = 0; i < s->n_files; i++) {
        files[i].name = get_text(in);
        files[i].path = get_text(in);
        files[i].text.p = get_bytes(in, &files[i].text.n);
    }
}

static void get_plain(struct in *in, struct tg_plain *p)
{
    p->listen = get_texts(in, &p->n_listen);
    p->destinations = get_texts(in, &p->n_destinations);
    p->admin = get_text(in);
    p->spool_path = get_text(in);
    p->log_level = get_text(in);
    p->log_json = get_number(in, ';') != 0;
    p->workers = (unsigned)get_number(in, ';');
    p->stop_ms = (int64_t)get_number(in, ';');
    p->hard_ms = (int64_t)get_number(in, ';');
    p->hang_ms = (int64_t)get_number(in, ';');
    p->dedup_window_ms = (int64_t)get_number(in, ';');
    p->dedup_entries = get_number(in, ';');
    p->reload_on_change = get_number(in, ';') != 0;
}

static void get_config(struct in *in, struct tg_config_text *t)
{
    t->path = get_text(in);
    t->text = get_bytes(in, &t->len);
    t->inputs = get_array(in, sizeof *t->inputs, &t->n_inputs);
    for (size_t i = 0; i < t->n_inputs; i++) {
        t->inputs[i].kind = get_number(in, ';') == TG_INPUT_FILE ? TG_INPUT_FILE : TG_INPUT_ENV;
        t->inputs[i].name = get_text(in);
        t->inputs[i].value = get_bytes(in, &t->inputs[i].len);
    }
    t->sealed = true;
}

int tg_snapshot_parse(struct tg_str bytes, struct tg_snapshot **out, struct tg_err *err)
{
    struct tg_snapshot *s = tg_calloc(1, sizeof *s);
    if (!s)
        return tg_fail(err, TG_NOMEM, "snapshot: out of memory");
    struct in in = {bytes.p, bytes.p + bytes.n, !tg_str_starts(bytes, MAGIC)};
    if (!in.bad)
        in.at += sizeof MAGIC - 1;
    s->generation = get_number(&in, ';');
    get_plain(&in, &s->plain);
    get_config(&in, &s->text);
    get_source(&in, &s->library);
    s->scripts = get_array(&in, sizeof *s->scripts, &s->n_scripts);
    for (size_t i = 0; i < s->n_scripts; i++)
        get_source(&in, &s->scripts[i]);
    if (in.bad || in.end - in.at != 3 || memcmp(in.at, "end", 3) != 0) {
        tg_snapshot_free(&s);
        return tg_fail(err, TG_CORRUPT, "snapshot: not complete, or out of memory");
    }
    *out = s;
    return TG_OK;
}

int tg_snapshot_read(int fd, struct tg_snapshot **out, struct tg_err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return tg_fail_errno(err, errno, "snapshot");
    if (st.st_size <= 0 || st.st_size > TG_SNAPSHOT_MAX)
        return tg_fail(err, TG_CORRUPT, "snapshot: is empty or too large");
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return tg_fail_errno(err, errno, "snapshot");
    int rc = tg_snapshot_parse(tg_str_n(p, (size_t)st.st_size), out, err);
    (void)munmap(p, (size_t)st.st_size);
    return rc;
}
