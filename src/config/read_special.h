/* Options that need more than a type (TG_OPT_SPECIAL), found by name. */
#ifndef TG_CONFIG_READ_SPECIAL_H
#define TG_CONFIG_READ_SPECIAL_H

#include "config/read_value.h"

/* For tg_reading's `special`. */
void tg_read_special(struct tg_reading *rd, const struct tg_option *o, void *target, const char *path);

#endif
