/* One destination from its birth to its end. Its turns are in outlet_turn.h. */
#ifndef TG_DELIVER_OUTLET_H
#define TG_DELIVER_OUTLET_H

#include "deliver/model.h"

struct outlet *tg_outlet_new(struct tg_engine *e, const char *name); /* NULL: no memory */
/* Its items are dropped; it must not be asking the state. */
void tg_outlet_free(struct outlet **outlet);
TG_MUST_CHECK int tg_outlet_attach(struct outlet *o); /* its cursors: found or added */
struct outlet *tg_engine_find_outlet(struct tg_engine *e, const char *name);
/* What has not been sent goes back where it came from; what is on the wire is waited for. When it no longer
 * may send. */
void tg_outlet_give_back_unsent(struct outlet *o);
/* Gone from the configuration: gives back what can be, and ends when the rest is done. */
void tg_outlet_remove(struct outlet *o);

#endif
