/* UTF-8 within JSON text. */
#ifndef TG_BASE_JSON_UTF8_H
#define TG_BASE_JSON_UTF8_H

#include <stddef.h>

/* How many of n bytes at p are valid UTF-8 from the start: n when all are. */
size_t tg_json_utf8(const char *p, size_t n);

/* How many bytes of a sequence of two or more bytes are right (Unicode table 3-7); *whole is how many it
 * wants: the sequence is valid when both are equal. *whole is 0 for a byte that begins nothing. */
unsigned tg_utf8_right(const unsigned char *p, size_t n, unsigned *whole);

/* Writes the character; how many bytes it has. */
unsigned tg_utf8_put(char out[4], unsigned code);

#endif
