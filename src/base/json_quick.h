/* Validation at a few instructions a byte, for text that is right: nearly all that arrives is. */
#ifndef TG_BASE_JSON_QUICK_H
#define TG_BASE_JSON_QUICK_H

#include "base/str.h"

enum { TG_JSON_DEPTH_CEILING = 1024 };

/* True: the text is one JSON value, nested at most max_depth (< TG_JSON_DEPTH_CEILING) deep, perhaps with
 * white space around it. False: it is not, or this machine has not what it takes: look closer. */
bool tg_json_quick(struct tg_str text, unsigned max_depth);

#endif
