/* A configuration's text, evaluated and checked: the file sees only env(name [, default]) and file(path). */
#ifndef TG_CONFIG_LOADER_H
#define TG_CONFIG_LOADER_H

#include "base/problems.h"
#include "config/config.h"
#include "config/text.h"

/* Every problem is added; NULL when there was one. Frees with tg_config_free. */
struct tg_config *tg_config_load(struct tg_config_text *t, struct tg_problems *problems);

#endif
