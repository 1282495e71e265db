/* System calls that fail when a test wants it: these stand before libc's when the test's program is linked.
 * Each counter is how many of the next calls succeed before one fails; negative: none fails. */
#ifndef TG_FAILING_CALLS_H
#define TG_FAILING_CALLS_H

#include <dlfcn.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static int fork_fails = -1, pipe2_fails = -1, socketpair_fails = -1, memfd_create_fails = -1;

static inline int call_fails(int *counter, int error)
{
    if (*counter < 0 || (*counter)--)
        return 0;
    *counter = -1;
    errno = error;
    return 1;
}

#define REAL(name) (*(__typeof__(&(name)) *)(void *[]){dlsym(RTLD_NEXT, #name)})

pid_t fork(void)
{
    return call_fails(&fork_fails, EAGAIN) ? -1 : REAL(fork)();
}

int pipe2(int fds[2], int flags)
{
    return call_fails(&pipe2_fails, EMFILE) ? -1 : REAL(pipe2)(fds, flags);
}

int socketpair(int domain, int type, int protocol, int fds[2])
{
    return call_fails(&socketpair_fails, EMFILE) ? -1 : REAL(socketpair)(domain, type, protocol, fds);
}

int memfd_create(const char *name, unsigned flags)
{
    return call_fails(&memfd_create_fails, ENFILE) ? -1 : REAL(memfd_create)(name, flags);
}

#endif
