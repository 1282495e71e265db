/* Members of validated JSON by name and by path. */
#ifndef TG_BASE_JSON_FIND_H
#define TG_BASE_JSON_FIND_H

#include "base/str.h"

#include <stdbool.h>

/* Whether the text may have a member of that name, given in its quotes, at any depth: false is certain. Much
 * cheaper than looking for one that is not there. */
bool tg_json_may_have(struct tg_str text, struct tg_str quoted);

/* The last member of that name of an object; an empty span when absent or when `object` is not an object. */
struct tg_str tg_json_get(struct tg_str object, const char *name);

/* By dotted path; numeric steps index arrays from 0 ("properties.products.0.sku"). A member whose key is the
 * whole remaining path wins over descending. An empty path (or step) names the member "". Empty span when
 * nothing is there. */
struct tg_str tg_json_path(struct tg_str value, struct tg_str path);

#endif
