/* Sizes ("4MiB") and times ("8s") as people write them; false when they do not parse. */
#ifndef TG_CONFIG_UNITS_H
#define TG_CONFIG_UNITS_H

#include "base/str.h"

#include <stdbool.h>

bool tg_parse_size(struct tg_str text, double *bytes);
bool tg_parse_duration(struct tg_str text, double *ms);

#endif
