/* A configuration's text, evaluated and checked: the file sees only env(name [, default]) and file(path). */
#ifndef TG_CONFIG_LOADER_H
#define TG_CONFIG_LOADER_H

#include "base/problems.h"
#include "config/config.h"
#include "config/text.h"

/* Every problem is added; NULL when there was one. Freed with tg_config_free. */
struct tg_config *tg_config_load(struct tg_config_text *t, struct tg_problems *problems);

/* The same for who looks for more problems: what could be read although there were some, or NULL when the
 * text could not be evaluated. A destination's settings are NULL where they are not a table. */
struct tg_config *tg_config_read(struct tg_config_text *t, struct tg_problems *problems);

#endif
