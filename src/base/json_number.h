/* Numbers of JSON text. */
#ifndef TG_BASE_JSON_NUMBER_H
#define TG_BASE_JSON_NUMBER_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

/* Adds the shortest decimal that reads back as the same double, laid out as JavaScript does: without exponent
 * from 1e-6 to below 1e21; integers have no ".0"; minus zero is "-0". Independent of the locale. TG_INVALID
 * for NaN and infinities. */
TG_MUST_CHECK int tg_json_number(struct tg_buf *out, double number);
/* The same into out; the length, 0 for NaN and infinities. No NUL is added. */
enum { TG_JSON_NUMBER_MAX = 40 };
size_t tg_json_format(char out[TG_JSON_NUMBER_MAX], double number);
/* A number value as the nearest double. False when it is not a number or overflows to infinity. */
bool tg_json_double(struct tg_str value, double *number);
/* The same, but only for a text that is a print of that double: rounding the double to as many digits as the
 * text has gives the text back. 0.1, 0.10000000000000001 and 12345678901234568 are; 12345678901234567, 1e400
 * and a pi of 20 digits are not: a double would lose something of them. */
bool tg_json_exact(struct tg_str value, double *number);
/* A number value that is an integer (1.0 and 1e3 are) and fits. */
bool tg_json_int(struct tg_str value, int64_t *number);

#endif
