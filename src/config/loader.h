/* Evaluates tidegate.lua and checks what it returns.
 *
 * The file sees only env(name [, default]) and file(path). What these gave is recorded in the inputs, so that
 * a later evaluation of the same text (in a worker, after a restart) gives the same configuration whatever
 * the environment and the files say then. */
#ifndef TG_CONFIG_LOADER_H
#define TG_CONFIG_LOADER_H

#include "base/problems.h"
#include "config/config.h"

struct tg_config_input {
    enum { TG_INPUT_ENV, TG_INPUT_FILE } kind;
    char *name;
    char *value; /* NULL: an environment variable that was not set */
    size_t len;
};

struct tg_config_text {
    char *path; /* as the person gave it; options that are paths are relative to its folder */
    char *text;
    size_t len;
    struct tg_config_input *inputs;
    size_t n_inputs;
    bool sealed;         /* inputs answer for env and file; the world is not asked */
    bool unset_is_empty; /* env() of a variable that is not set gives a stand-in: for commands that only look
                            up paths */
};

/* Reads the file into *t (nothing is evaluated yet). */
TG_MUST_CHECK int tg_config_text_read(struct tg_config_text *t, const char *path, struct tg_err *err);
void tg_config_text_fini(struct tg_config_text *t);

/* Every problem is added; NULL when there was one. Frees with tg_config_free. */
struct tg_config *tg_config_load(struct tg_config_text *t, struct tg_problems *problems);

/* Sizes and times as people write them; false when they do not parse. */
bool tg_parse_size(struct tg_str text, double *bytes);
bool tg_parse_duration(struct tg_str text, double *ms);

/* The commented full configuration. */
TG_MUST_CHECK int tg_config_example(struct tg_buf *out);

#endif
