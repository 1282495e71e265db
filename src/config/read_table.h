/* Walks a Lua table along its table of options: each is read, defaulted or missed, and what is no option is
 * named, with the one that may have been meant. */
#ifndef TG_CONFIG_READ_TABLE_H
#define TG_CONFIG_READ_TABLE_H

#include "config/read_value.h"

/* The table on the top, into the struct that `options` describe. */
void tg_read_table(struct tg_reading *rd, const struct tg_option *options, void *target, const char *path);
/* Defaults are written as a person would write them, and read by the same code. */
void tg_set_defaults(struct tg_reading *rd, const struct tg_option *options, void *target);

/* "path.key", or "key" when the path is empty; `out` has TG_OPTION_PATH bytes. */
void tg_join_path(char *out, const char *path, const char *key);

#endif
