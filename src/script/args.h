/* Arguments and results of primitives. All functions may raise. */
#ifndef TG_SCRIPT_ARGS_H
#define TG_SCRIPT_ARGS_H

#include "base/buf.h"

#include <lua.h>
#include <stdint.h>

/* The argument as text; a number is replaced on the stack by its text, so that the span stays valid while the
 * argument is there. `function` and `name` are for the message: "sha1: argument 1 (data): text expected, got
 * nil". */
struct tg_str tg_arg_text(lua_State *L, int arg, const char *function, const char *name);
/* A whole number from low to high. */
int64_t tg_arg_integer(lua_State *L, int arg, const char *function, const char *name, int64_t low,
                       int64_t high);
/* A path such as "properties.order_id", lent by the stack. */
struct tg_str tg_arg_path(lua_State *L, int idx);
/* A table. */
void tg_arg_table(lua_State *L, int arg, const char *function, const char *name);
/* Raises "<function>: argument <arg> (<name>): <wanted> expected, got <type>". */
int tg_arg_error(lua_State *L, int arg, const char *function, const char *name, const char *wanted);

/* A buffer for n bytes in a new userdata on the stack: it never grows, and Lua frees it, also when an error
 * is raised while it is in use. Never call tg_buf_fini or tg_buf_take on it. */
struct tg_buf tg_scratch(lua_State *L, size_t n);

/* Pushes the buffer's contents as a string, or nil and a message when rc is an error. Returns how many were
 * pushed. */
int tg_push_result(lua_State *L, int rc, const struct tg_buf *b, const char *function, const char *what);
/* Pushes nil and "<function>: <what>"; returns 2. */
int tg_push_failure(lua_State *L, const char *function, const char *what);

/* The text of a finite number as JSON prints it (76, 0.1, 12345678901234567), in `out`; an empty span for
 * others. */
enum { TG_NUMBER_LEN = 64 };
struct tg_str tg_number_text(double number, char out[TG_NUMBER_LEN]);

#endif
