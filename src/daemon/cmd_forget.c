/* First the tombstone, which is durable and hides the user's events in the log; then the workers, so that
 * none of them writes a row of the user any more; then the rows. Ending anywhere in between is repaired by
 * doing it again. */
#include "daemon/cmd_forget.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "daemon/cli.h"
#include "daemon/control.h"
#include "deliver/forgotten.h"
#include "spool/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum { NAME_MAX_BYTES = 64 * 1024 };

static int leave_tombstone(struct tg_state *s, const char *user_id, int64_t at, struct tg_err *err)
{
    struct tg_buf name = TG_BUF_INIT(NAME_MAX_BYTES);
    int rc = tg_forgotten_name(&name, tg_str_of(user_id), at);
    const char *text = rc ? NULL : tg_buf_cstr(&name);
    if (text)
        rc = tg_state_put_fact_now(s, TG_FORGET_FACT, text, TG_STR(TG_FORGET_DONE), err);
    else
        rc = tg_fail(err, TG_INVALID, "the user id is too long, or memory is short");
    tg_buf_fini(&name);
    return rc;
}

static const char *plural(int64_t n)
{
    return n == 1 ? "" : "s";
}

static void tell(const char *user_id, const struct tg_forgotten_rows *rows, bool runs)
{
    (void)printf("user %s: removed %" PRId64 " waiting retr%s, %" PRId64 " dead letter%s and %" PRId64
                 " event%s that ingest had set aside\n"
                 "what is still in the event log is hidden from now on%s; its bytes go with its segments\n",
                 user_id, rows->retries, rows->retries == 1 ? "y" : "ies", rows->dead, plural(rows->dead),
                 rows->set_aside, plural(rows->set_aside),
                 runs ? " (requests under way could not be called back)" : "");
}

static int tell_json(const char *user_id, const struct tg_forgotten_rows *rows, bool runs)
{
    struct tg_buf out = TG_BUF_INIT(2 * NAME_MAX_BYTES);
    int rc = tg_buf_adds(&out, "{\"userId\":");
    if (!rc)
        rc = tg_json_quote(&out, tg_str_of(user_id));
    if (!rc)
        rc = tg_buf_printf(
            &out, ",\"retries\":%" PRId64 ",\"dead\":%" PRId64 ",\"set_aside\":%" PRId64 ",\"running\":%s}\n",
            rows->retries, rows->dead, rows->set_aside, runs ? "true" : "false");
    if (!rc)
        (void)fwrite(out.data, 1, out.len, stdout);
    tg_buf_fini(&out);
    return rc;
}

static int forget(const char *spool, const char *user_id, bool json)
{
    struct tg_state *s = NULL;
    struct tg_err err = {0}, untold = {0};
    struct tg_forgotten_rows rows;
    const struct tg_forgotten_user who = {tg_str_of(user_id), tg_wall_ms()};
    bool runs = false;
    int rc =
        access(spool, F_OK) ? tg_fail_errno(&err, errno, "%s", spool) : tg_state_open(spool, NULL, &s, &err);
    if (!rc)
        rc = leave_tombstone(s, user_id, who.until, &err);
    int told = rc ? TG_OK : tg_control_wake(spool, &runs, &untold);
    if (!rc)
        rc = tg_state_forget_users(s, &who, 1, &rows, &err);
    if (s)
        tg_state_close(&s);
    if (rc) {
        (void)fprintf(stderr, "tidegate forget: %s\n", err.msg[0] ? err.msg : tg_code_text(rc));
        return TG_EXIT_FAILED;
    }
    if (!json || tell_json(user_id, &rows, runs))
        tell(user_id, &rows, runs);
    if (!told)
        return TG_EXIT_OK;
    (void)fprintf(
        stderr,
        "tidegate forget: the running relay could not be told (%s): it may still deliver what is in its log. "
        "Do it again\n",
        untold.msg);
    return TG_EXIT_FAILED;
}

int tg_cmd_forget(int argc, char **argv)
{
    bool bad = false;
    struct tg_cli_where where;
    bool json = tg_cli_flag(&argc, argv, NULL, "--json");
    const char *user_id = tg_cli_option(&argc, argv, NULL, "--user-id", &bad);
    if (bad || !tg_cli_where(&argc, argv, &where) || tg_cli_too_many(argc, argv, 0, 0))
        return TG_EXIT_USAGE;
    if (!user_id || !*user_id)
        return tg_cli_usage(argv[0], "whom? --user-id ID is missing");
    char *spool = tg_cli_spool(argv[0], &where);
    if (!spool)
        return TG_EXIT_FAILED;
    int status = forget(spool, user_id, json);
    tg_free(spool);
    return status;
}
