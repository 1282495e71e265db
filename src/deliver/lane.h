/* A destination's way through one partition: reads the log from its cursor on.
 *
 * A record that is not for the destination settles at once; one that is becomes an item and is marked busy.
 * Items may be given back (item_write.h); then the lane reads again from its cursor and steps over what is
 * settled or busy. Sequences that are missing (damaged records, numbering that went on after a restart) count
 * as settled. */
#ifndef TG_DELIVER_LANE_H
#define TG_DELIVER_LANE_H

#include "deliver/model.h"

enum taken { TAKEN_NOTHING, TAKEN_SKIPPED, TAKEN_ITEM };
enum taken tg_lane_take(struct outlet *o, struct lane *lane, struct item **out);
enum taken tg_lanes_take(struct outlet *o, struct item **out); /* from its lanes by turns */
void tg_lane_let_go(struct lane *lane, uint64_t seq);          /* it is not worked on any more */

#endif
