/* The option `destinations`, named tables, and the filter of each. */
#ifndef TG_CONFIG_READ_DESTINATIONS_H
#define TG_CONFIG_READ_DESTINATIONS_H

#include "config/read_value.h"

/* Sorted by name: every worker numbers them alike. */
void tg_read_destinations(struct tg_reading *rd, const char *path);
/* A destination's `filter`: a function, which only scripts can call, or a table, kept as JSON. */
void tg_read_filter(struct tg_reading *rd, struct tg_destination_config *d, const char *path);

#endif
