#include "script/source.h"

#include "base/mem.h"

const struct tg_script_file *tg_script_source_file(const struct tg_script_source *s, const char *name)
{
    for (size_t i = 0; i < s->n_files; i++)
        if (strcmp(s->files[i].name, name) == 0)
            return &s->files[i];
    return NULL;
}

static int copy_file(struct tg_script_file *to, const struct tg_script_file *from)
{
    char *text = tg_strndup(from->text.n ? from->text.p : "", from->text.n);
    to->name = tg_strdup(from->name);
    to->path = tg_strdup(from->path ? from->path : from->name);
    to->text = tg_str_n(text, from->text.n);
    return text && to->name && to->path ? TG_OK : TG_NOMEM;
}

int tg_script_source_copy(struct tg_script_source *to, const struct tg_script_source *from)
{
    *to = (struct tg_script_source){0};
    char *name = tg_strdup(from->name ? from->name : "");
    struct tg_script_file *files = tg_calloc(from->n_files, sizeof *files);
    to->name = name;
    to->files = files;
    int rc = name && files ? TG_OK : TG_NOMEM;
    for (size_t i = 0; !rc && i < from->n_files; i++) {
        to->n_files = i + 1;
        rc = copy_file(&files[i], &from->files[i]);
    }
    if (rc)
        tg_script_source_free(to);
    return rc;
}

void tg_script_source_free(struct tg_script_source *s)
{
    for (size_t i = 0; i < s->n_files; i++) {
        tg_free((void *)s->files[i].name);
        tg_free((void *)s->files[i].path);
        tg_free((void *)s->files[i].text.p);
    }
    tg_free((void *)s->files);
    tg_free((void *)s->name);
    *s = (struct tg_script_source){0};
}
