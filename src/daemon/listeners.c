#include "daemon/listeners.h"

#include "base/mem.h"

int tg_listeners_init(struct tg_listeners *l, const struct tg_plain *plain, struct tg_err *err)
{
    *l = (struct tg_listeners){.n = plain->n_listen, .workers = plain->workers, .admin = -1};
    l->fds = tg_calloc(l->n * l->workers, sizeof *l->fds);
    l->bound = tg_calloc(l->n, sizeof *l->bound);
    if (!l->fds || !l->bound)
        return tg_fail(err, TG_NOMEM, "out of memory");
    int rc = TG_OK;
    for (size_t i = 0; !rc && i < l->n; i++)
        rc = tg_listen(plain->listen[i], &l->fds[i * l->workers], l->workers, l->bound[i], err);
    if (!rc && plain->admin)
        rc = tg_listen(plain->admin, &l->admin, 1, l->admin_bound, err);
    return rc;
}

void tg_listeners_fini(struct tg_listeners *l)
{
    tg_free(l->fds);
    tg_free(l->bound);
    l->fds = NULL;
    l->bound = NULL;
}

int tg_listeners_fd(const struct tg_listeners *l, size_t address, unsigned worker)
{
    return l->fds[address * l->workers + worker];
}
