#include "daemon/dead_request.h"

#include "daemon/cli.h"

#include <stdlib.h>

void tg_dead_pick(struct tg_dead_request *r, int i)
{
    r->filter.id = strtoll(r->ids[i], NULL, 10); /* dead_args.c has looked at it */
}

int tg_dead_failed(const struct tg_dead_request *r, const struct tg_err *err, int code)
{
    fprintf(r->errs, "dead %s: %s\n", r->name, err->msg[0] ? err->msg : tg_code_text(code));
    return TG_EXIT_FAILED;
}

int tg_dead_no_such(const struct tg_dead_request *r, const char *id)
{
    fprintf(r->errs, "dead %s: there is no dead letter %s (any more)\n", r->name, id);
    return TG_EXIT_FAILED;
}

int tg_dead_print_out(FILE *out, const struct tg_buf *text)
{
    return fwrite(text->data, 1, text->len, out) == text->len ? TG_OK : TG_IO;
}

void tg_dead_wake(const struct tg_dead_request *r, bool *runs)
{
    struct tg_err err = {0};
    *runs = false;
    if (r->world->wake && r->world->wake(r->world->spool_dir, runs, &err))
        fprintf(r->errs, "dead %s: the relay could not be told: %s\n", r->name, err.msg);
}
