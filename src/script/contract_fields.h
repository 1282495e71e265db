/* Fields of a script's table: what is wrong with one becomes a problem, and what was wanted a harmless value.
 * The tables are on the stack, at absolute indices; all functions may raise out of memory. */
#ifndef TG_SCRIPT_CONTRACT_FIELDS_H
#define TG_SCRIPT_CONTRACT_FIELDS_H

#include "base/problems.h"
#include "base/str.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

struct tg_names;

struct tg_contract_reader {
    const char *script, *dest;    /* their names */
    const char *where;            /* path of init.lua */
    const char *settings_path;    /* of the settings in the configuration */
    const char *rates_json;       /* what the configuration says of rates, or NULL */
    int module, schema, settings; /* the script's table, its settings, and their values */
    struct tg_problems *problems;
    bool no_memory;
};

/* Problems for keys that are not among `known`, which ends with NULL. path: NULL for the table itself. */
void tg_contract_check_keys(lua_State *L, struct tg_contract_reader *r, int table, const char *path,
                            const char *const *known);
/* The text at the top of the stack; empty, and a problem, when there is none. */
struct tg_str tg_contract_text(lua_State *L, struct tg_contract_reader *r, const char *path);
/* A positive number, or the name of the setting that holds one. `otherwise` when absent. */
double tg_contract_amount(lua_State *L, struct tg_contract_reader *r, int table, const char *key,
                          const char *path, double otherwise);
/* Whether a function is there. */
bool tg_contract_function(lua_State *L, struct tg_contract_reader *r, int table, const char *key,
                          const char *path, bool required);

/* Pushes the table of named rows under `key` of the script's table, and the sorted names; NULL, and only the
 * table or nil is pushed, when there is none. */
struct tg_names *tg_contract_rows(lua_State *L, struct tg_contract_reader *r, const char *key);

/* A copy, and n zeroed structs of a size; NULL and no_memory when there is none. */
char *tg_contract_keep(struct tg_contract_reader *r, struct tg_str text);
void *tg_contract_keep_array(struct tg_contract_reader *r, size_t n, size_t size);

#endif
