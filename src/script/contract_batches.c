#include "script/contract_batches.h"

#include "script/names.h"

#include <stdio.h>

static const char *const batch_keys[] = {"max_items", "max_bytes", "max_wait_ms", "join", "split", NULL};

static void read_batch(lua_State *L, struct tg_contract_reader *r, struct tg_batch_spec *b, const char *path)
{
    int row = lua_gettop(L);
    tg_contract_check_keys(L, r, row, path, batch_keys);
    b->max_items = (size_t)tg_contract_amount(L, r, row, "max_items", path, 100);
    b->max_bytes = (size_t)tg_contract_amount(L, r, row, "max_bytes", path, 1 << 20);
    b->max_wait_ms = (int64_t)tg_contract_amount(L, r, row, "max_wait_ms", path, 500);
    tg_contract_function(L, r, row, "join", path, true);
    b->has_split = tg_contract_function(L, r, row, "split", path, false);
}

void tg_contract_read_batches(lua_State *L, struct tg_contract_reader *r, struct tg_dest *pub)
{
    int top = lua_gettop(L);
    struct tg_names *names = tg_contract_rows(L, r, "batches");
    if (names)
        pub->batches = tg_contract_keep_array(r, names->n, sizeof *pub->batches);
    for (size_t i = 0; names && !r->no_memory && i < names->n; i++) {
        char path[200];
        snprintf(path, sizeof path, "batches.%.*s", TG_STR_ARG(names->v[i]));
        pub->n_batches = i + 1;
        pub->batches[i].name = tg_contract_keep(r, names->v[i]);
        if (r->no_memory)
            break;
        lua_getfield(L, top + 1, pub->batches[i].name);
        if (lua_istable(L, -1))
            read_batch(L, r, &pub->batches[i], path);
        else
            tg_problem_add(r->problems, r->where, path, "a table { max_items, join, … } is wanted");
        lua_pop(L, 1);
    }
    lua_settop(L, top);
}
