/* A loaded script, kept until the last item, batch or request that began with it has gone. Loop thread. */
#ifndef TG_DELIVER_SCRIPT_REF_H
#define TG_DELIVER_SCRIPT_REF_H

#include <stddef.h>
#include <stdint.h>

struct tg_dest;

struct script {
    struct tg_dest *dest;
    size_t users;
    int64_t generation;
};

/* Lets go of it, and frees its destination with the last user. NULL is fine. */
void tg_script_drop(struct script **script);

#endif
