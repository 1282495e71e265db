/* What every unit test includes first: cmocka, and the few assertions that it lacks. */
#ifndef TG_TEST_H
#define TG_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"

#include <string.h>

/* The contents of a span or a buffer are this text. */
#define assert_str(s, z) tg_assert_str((s), (z), __FILE__, __LINE__)
#define assert_buf(b, z) tg_assert_str(tg_buf_str(b), (z), __FILE__, __LINE__)
#define assert_ok(rc)    assert_int_equal((rc), TG_OK)

__attribute__((unused)) static void tg_assert_str(struct tg_str s, const char *z, const char *file, int line)
{
    if (!tg_str_is(s, z)) {
        print_error("got \"%.*s\", wanted \"%s\"\n", TG_STR_ARG(s), z);
        _fail(file, line);
    }
}

/* Runs a case with the first allocation refused, then with the second … until it passes. The case returns 0
 * or an error code and must clean up after itself either way; the leak checker of the asan flavour looks
 * whether it did. */
__attribute__((unused)) static void tg_torture(int (*run)(void *arg), void *arg)
{
    for (long n = 1; n < 100000; n++) {
        tg_mem_fail_after(n);
        int rc = run(arg);
        int refused = tg_mem_failed();
        tg_mem_fail_after(0);
        if (!refused) {
            assert_int_equal(rc, TG_OK);
            return;
        }
        assert_int_equal(rc, TG_NOMEM);
    }
    fail_msg("the case never passes");
}

#endif
