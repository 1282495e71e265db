/* What no single option's type says: rules over values that have been read, and over several options. Plain
 * C. */
#ifndef TG_CONFIG_CHECKS_H
#define TG_CONFIG_CHECKS_H

#include "config/config.h"

/* Whether `addr` (NULL: nothing to check) is host:port. */
void tg_check_address(const char *addr, const char *path, struct tg_problems *problems);
/* Names go into metrics, file names and SQL rows: keep them plain. */
bool tg_plain_name(const char *s);
/* Whether there is a source of this name, other than `but` (may be NULL). */
bool tg_known_source(const struct tg_config *c, const char *name, const struct tg_source_config *but);

/* The whole, once every option was read. admin = "off" becomes NULL. */
void tg_check_config(struct tg_config *c, struct tg_problems *problems);

#endif
