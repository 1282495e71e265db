/* Numbers as decimal text, strings as "<length>:<bytes>", absent ones as "-", one after the other in a fixed
 * order. */
#include "daemon/snapshot_bytes.h"

#include "base/digest.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static const char MAGIC[] = "tidegate snapshot 2\n";

/* --- writing --- */

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
                                p->dedup_entries,     p->reload_on_change,  p->sync};
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

/* --- reading --- */

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
    p->sync = get_number(in, ';');
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
