/* A partition in the hands of the engine: when its cursors are saved, and its log released. */
#ifndef TG_DELIVER_PART_H
#define TG_DELIVER_PART_H

#include "deliver/model.h"

void tg_part_settled(struct part *part);   /* an event more: saved after some thousands */
void tg_part_save(struct part *part);      /* unless it is being saved */
void tg_part_save_last(struct part *part); /* at the stop: blocks */

#endif
