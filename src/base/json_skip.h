/* Stepping over validated JSON without looking into it: the fast half of tg_json_walk and the cursor. On text
 * that was never validated every function stays between p and end and returns something there. */
#ifndef TG_BASE_JSON_SKIP_H
#define TG_BASE_JSON_SKIP_H

/* Behind the container whose opening bracket stands at p (p < end). */
const char *tg_json_container_end(const char *p, const char *end);

#endif
