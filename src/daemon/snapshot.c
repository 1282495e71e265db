#include "daemon/snapshot.h"

#include "base/log.h"
#include "base/mem.h"
#include "script/folders.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

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
    tg_script_source_free(&s->library);
    for (size_t i = 0; i < s->n_scripts; i++)
        tg_script_source_free(&s->scripts[i]);
    tg_free(s->scripts);
    tg_free(s);
    *snapshot = NULL;
}

void tg_snapshot_log_as(const struct tg_plain *plain)
{
    enum tg_log_level level;
    if (tg_log_level_parse(plain->log_level, &level))
        tg_log_set_level(level);
    tg_log_set_json(plain->log_json);
}

const struct tg_script_source *tg_snapshot_script(const struct tg_snapshot *s, const char *name)
{
    for (size_t i = 0; i < s->n_scripts; i++) {
        if (strcmp(s->scripts[i].name, name) == 0)
            return &s->scripts[i];
    }
    return NULL;
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
