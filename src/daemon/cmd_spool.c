#include "daemon/cmd_spool.h"

#include "base/event.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/time.h"
#include "daemon/cli.h"
#include "spool/log.h"
#include "spool/partition.h"
#include "spool/segment_scan.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_EVENT = 64 * 1024 * 1024 };

struct look {
    bool cat, json;
    uint64_t records, damaged, segments;
    bool failed;
};

static int print_record(void *arg, const struct tg_record *record, uint64_t offset)
{
    struct look *look = arg;
    struct tg_event ev;
    struct tg_err err = {0};
    (void)offset;
    if (!look->cat)
        return 0;
    struct tg_buf event = TG_BUF_INIT(MAX_EVENT);
    if (tg_event_decode(record->header, record->body, &ev, &err) || tg_event_forward(&ev, &event)) {
        (void)fprintf(stderr, "event %" PRIu64 ": %s\n", record->seq, err.msg);
        look->failed = true;
    } else {
        (void)printf("{\"seq\":%" PRIu64 ",\"source\":\"%.*s\",\"event\":%.*s}\n", record->seq,
                     TG_STR_ARG(ev.source), TG_STR_ARG(tg_buf_str(&event)));
    }
    tg_buf_fini(&event);
    return 0;
}

static void print_damage(void *arg, uint64_t offset, uint64_t bytes, const char *why)
{
    struct look *look = arg;
    look->damaged++;
    (void)fprintf(stderr, "  damaged: %" PRIu64 " bytes at offset %" PRIu64 ": %s\n", bytes, offset, why);
}

static int segment_json(struct tg_buf *out, const char *path, const struct tg_segment_info *info)
{
    int rc = tg_buf_adds(out, "{\"path\":");
    if (!rc)
        rc = tg_json_quote(out, tg_str_of(path));
    if (!rc)
        rc = tg_buf_printf(out, ",\"epoch\":%" PRIu64 ",\"events\":%" PRIu64, info->epoch, info->records);
    if (!rc && info->records)
        rc = tg_buf_printf(out, ",\"first\":%" PRIu64 ",\"last\":%" PRIu64, info->first_seq, info->last_seq);
    else if (!rc)
        rc = tg_buf_adds(out, ",\"first\":null,\"last\":null");
    return rc ? rc
              : tg_buf_printf(out, ",\"bytes\":%" PRIu64 ",\"damaged\":%s,\"torn\":%s}\n", info->bytes,
                              info->damaged ? "true" : "false", info->torn ? "true" : "false");
}

static void print_segment_json(struct look *look, const char *path, const struct tg_segment_info *info)
{
    struct tg_buf out = TG_BUF_INIT(65536);
    if (segment_json(&out, path, info)) {
        (void)fprintf(stderr, "%s: out of memory\n", path);
        look->failed = true;
    } else {
        (void)fwrite(out.data, 1, out.len, stdout);
    }
    tg_buf_fini(&out);
}

static void print_segment(const char *path, const struct tg_segment_info *info)
{
    (void)printf("%s  epoch %" PRIu64 "  events %" PRIu64, path, info->epoch, info->records);
    if (info->records)
        (void)printf("  %" PRIu64 "-%" PRIu64, info->first_seq, info->last_seq);
    (void)printf("  %" PRIu64 " bytes%s%s\n", info->bytes, info->damaged ? "  DAMAGED" : "",
                 info->torn ? "  torn tail" : "");
}

static void look_at_segment(struct look *look, const char *path)
{
    struct tg_segment_info info;
    struct tg_err err = {0};
    int rc = tg_segment_scan(tg_io_system(), path, &info, print_record, print_damage, look, &err);
    if (rc == TG_NOTFOUND)
        return; /* a relay has removed it meanwhile */
    if (rc) {
        (void)fprintf(stderr, "%s: %s\n", path, err.msg);
        look->failed = true;
        return;
    }
    look->segments++;
    look->records += info.records;
    if (look->json && !look->cat)
        print_segment_json(look, path, &info);
    else if (!look->cat)
        print_segment(path, &info);
}

static int is_segment(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return n > 4 && strcmp(d->d_name + n - 4, ".seg") == 0;
}

static void look_at_partition(struct look *look, const char *spool, uint32_t number)
{
    char dir[4096], path[4096 + 300];
    struct dirent **names = NULL;
    (void)snprintf(dir, sizeof dir, "%s/p%" PRIu32, spool, number);
    int n = scandir(dir, &names, is_segment, alphasort);
    for (int i = 0; i < n; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name);
        look_at_segment(look, path);
        free(names[i]); /* scandir's */
    }
    free(names); /* scandir's */
}

int tg_cmd_spool(int argc, char **argv)
{
    struct tg_cli_where where;
    struct tg_err err = {0};
    bool json = tg_cli_flag(&argc, argv, NULL, "--json");
    if (!tg_cli_where(&argc, argv, &where) || tg_cli_too_many(argc, argv, 1, 1))
        return TG_EXIT_USAGE;
    bool verify = strcmp(argv[1], "verify") == 0;
    struct look look = {.cat = strcmp(argv[1], "cat") == 0, .json = json};
    if (!look.cat && !verify && strcmp(argv[1], "ls") != 0)
        return tg_cli_usage(argv[0], "there are ls, cat and verify");
    char *spool = tg_cli_spool(argv[0], &where);
    if (!spool)
        return TG_EXIT_FAILED;
    uint32_t *numbers = NULL;
    size_t n = 0;
    if (tg_partition_list(spool, &numbers, &n, &err)) {
        (void)fprintf(stderr, "tidegate spool: %s\n", err.msg);
        look.failed = true;
    }
    for (size_t i = 0; i < n; i++)
        look_at_partition(&look, spool, numbers[i]);
    if (!look.cat && !json)
        (void)printf("%" PRIu64 " segments, %" PRIu64 " events, %" PRIu64 " damaged places\n", look.segments,
                     look.records, look.damaged);
    tg_free(numbers);
    tg_free(spool);
    return look.failed || (verify && look.damaged) ? TG_EXIT_FAILED : TG_EXIT_OK;
}
