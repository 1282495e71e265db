#include "deliver/script_ref.h"

#include "base/mem.h"
#include "script/host.h"

/* Frees the destination with its last user. */
void tg_script_drop(struct script **p)
{
    struct script *script = *p;
    *p = NULL;
    if (!script || --script->users > 0)
        return;
    if (script->dest)
        tg_dest_free(&script->dest);
    tg_free(script);
}
