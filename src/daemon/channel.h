/* Messages between the supervisor and one worker over a socket pair that keeps their borders, a descriptor
 * with them where one is needed. Both sides trust each other: they are one program. */
#ifndef TG_DAEMON_CHANNEL_H
#define TG_DAEMON_CHANNEL_H

#include "base/err.h"

#include <stdint.h>

enum tg_msg_type {
    TG_MSG_READY = 1, /* worker: serving */
    TG_MSG_FAILED,    /* worker: cannot start; text says why */
    TG_MSG_RELOAD,    /* supervisor: swap to this snapshot (with its descriptor) */
    TG_MSG_RELOADED,  /* worker: value 0: done, else it stays with the old one; text says why */
    TG_MSG_PAUSE,     /* supervisor: destination in text */
    TG_MSG_RESUME,
    TG_MSG_WAKE, /* supervisor: the state was changed from outside */
    TG_MSG_DONE  /* worker: answer to pause, resume and wake, durable; value is the code, text the reason */
};

struct tg_msg {
    uint32_t type;
    int32_t code;
    uint64_t generation;
    char text[1024];
};

TG_MUST_CHECK int tg_channel_open(int fds[2], struct tg_err *err);
/* fd < 0: none goes along. Never blocks; TG_BUSY when the other side does not read, TG_CLOSED when it is
 * gone. */
TG_MUST_CHECK int tg_channel_send(int channel, const struct tg_msg *msg, int fd);
/* TG_OK; TG_BUSY: nothing there; TG_CLOSED, also for what is no whole message. *fd is -1 or the receiver's to
 * close. */
TG_MUST_CHECK int tg_channel_receive(int channel, struct tg_msg *msg, int *fd);

#endif
