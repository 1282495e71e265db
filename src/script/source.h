/* A script's files in memory, or the library's. */
#ifndef TG_SCRIPT_SOURCE_H
#define TG_SCRIPT_SOURCE_H

#include "base/err.h"
#include "base/str.h"

struct tg_script_file {
    const char *name; /* "init.lua", "helpers.lua": relative to the script's folder */
    const char *path; /* for messages: what a person would open */
    struct tg_str text;
};
/* One script's folder, or the library (`tidegate.lua`, `tidegate/….lua`). */
struct tg_script_source {
    const char *name; /* "everflow" */
    const struct tg_script_file *files;
    size_t n_files;
};

/* The file of that name, or NULL. */
const struct tg_script_file *tg_script_source_file(const struct tg_script_source *s, const char *name);

TG_MUST_CHECK int tg_script_source_copy(struct tg_script_source *to, const struct tg_script_source *from);
void tg_script_source_free(struct tg_script_source *source); /* zeroed afterwards */

#endif
