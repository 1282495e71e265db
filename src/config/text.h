/* The text of a configuration, and what the world answered to it.
 *
 * What env() and file() gave is recorded in the inputs, so that a later evaluation of the same text (in a
 * worker, after a restart) gives the same configuration whatever the environment and the files say then. */
#ifndef TG_CONFIG_TEXT_H
#define TG_CONFIG_TEXT_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

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
    bool unset_is_empty; /* env() of a variable that is not set is no problem: for commands that only look up
                            paths */
    bool stood_in;       /* env() or file() had no answer and gave a stand-in, so that the rest can be read */
};

/* What stands for an answer that is missing: "unset:NAME", for keys must differ. Whether a text has one. */
#define TG_CONFIG_STAND_IN "unset:"
bool tg_config_has_stand_in(struct tg_str text);

/* Reads the file into *t (nothing is evaluated yet). */
TG_MUST_CHECK int tg_config_text_read(struct tg_config_text *t, const char *path, struct tg_err *err);
void tg_config_text_fini(struct tg_config_text *t);

/* A path that the configuration names, relative to the folder of its file. False when too long. */
bool tg_config_text_resolve(const struct tg_config_text *t, const char *path, char *out, size_t size);

/* What was recorded under this name, or NULL. Points into *t until the next add. */
struct tg_config_input *tg_config_input_find(struct tg_config_text *t, int kind, const char *name);
/* Takes value (may be NULL). NULL when there is no room, and then value is freed. */
struct tg_config_input *tg_config_input_add(struct tg_config_text *t, int kind, const char *name, char *value,
                                            size_t len);

#endif
