/* The option `sources`: a list of tables. */
#ifndef TG_CONFIG_READ_SOURCES_H
#define TG_CONFIG_READ_SOURCES_H

#include "config/read_value.h"

void tg_read_sources(struct tg_reading *rd, const char *path);

#endif
