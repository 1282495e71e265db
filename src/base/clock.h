/* The only reader of clocks. Modules with time in their logic (rates, retries, batches) take `now` as an
 * argument. */
#ifndef TG_BASE_CLOCK_H
#define TG_BASE_CLOCK_H

#include <stdint.h>

/* No time at all; also what a missing or unparsable time is. */
#define TG_NO_TIME INT64_MIN

int64_t tg_wall_ms(void);       /* milliseconds since 1970, UTC; may jump */
int64_t tg_mono_ms(void);       /* milliseconds, never goes back */
int64_t tg_mono_us(void);       /* microseconds, never goes back */
int64_t tg_thread_cpu_us(void); /* CPU time of the calling thread */

/* Shifts what tg_wall_ms reads; for tests of clock jumps. */
void tg_wall_shift_ms(int64_t by);

#endif
