/* Lua values become members of the configuration's structs: one value at a time, from the top of the stack.
 *
 * What a person got wrong is added to the problems with the path of the option (`path`); the slot then stays
 * as it was. A Lua error is a long jump out of the one protected call: whatever is allocated meanwhile is
 * reachable from `struct tg_reading` or from the configuration that is being filled, never from a local
 * alone. */
#ifndef TG_CONFIG_READ_VALUE_H
#define TG_CONFIG_READ_VALUE_H

#include "base/buf.h"
#include "base/problems.h"
#include "config/config.h"
#include "config/options.h"
#include "config/text.h"

#include <lua.h>

/* One configuration on its way from Lua to C. */
struct tg_reading {
    lua_State *L;
    const struct tg_config_text *text;
    struct tg_problems *problems;
    struct tg_config *config;
    /* Reads the options of type TG_OPT_SPECIAL into `target`, the struct that their table fills. */
    void (*special)(struct tg_reading *rd, const struct tg_option *o, void *target, const char *path);
    struct tg_buf json; /* here, so that a Lua error (a long jump) leaks nothing */
};

/* The value on the top, as its option's type says: all types but TG_OPT_TABLE and TG_OPT_SPECIAL. */
void tg_read_value(struct tg_reading *rd, const struct tg_option *o, void *slot, const char *path);

/* A number in the option's own unit, within its bounds. False when it is not one. */
bool tg_read_number(struct tg_reading *rd, const struct tg_option *o, const char *path, double *number);
/* A list of strings, or one string, appended to *list. */
void tg_read_strings(struct tg_reading *rd, struct tg_strings *list, const char *path, bool paths);
/* JSON text of the table on the top. */
void tg_read_object(struct tg_reading *rd, char **slot, const char *path);

/* Replaces *slot by a copy of its own. */
void tg_set_string(char **slot, const char *value, size_t n, struct tg_reading *rd, const char *path);
/* Room for one more item behind `n`, zeroed; NULL without memory. The caller counts it. */
void *tg_add_item(void **items, size_t n, size_t size);
/* "must be <want>, not …", from the value on the top. */
void tg_problem_type(struct tg_reading *rd, const char *path, const char *want);

#endif
