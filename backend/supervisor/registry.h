/* backend/supervisor/registry.h -- keeps the registrar running (backend/main/registrar.h)
 *
 * Threads: the supervisor's.
 */
#ifndef BE_REGISTRY_H
#define BE_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct be_supervisor;

struct be_registry {
    pid_t pid; /* 0: it does not run */
    uint64_t not_before_ns;
    unsigned deaths; /* in a row */
    /* What the registrar was told of last. */
    uint64_t ended;
    unsigned serving;
    bool closed;
};

/* Start it where it shall run and does not, and tell it (SIGUSR1) that a place was taken or became
 * free; when to look again. */
uint64_t be_registry_check(struct be_supervisor *s, uint64_t now_ns);
/* After SIGCHLD. */
void be_registry_reap(struct be_supervisor *s);
/* Its line is closed: give it a moment to take the entries back. */
void be_registry_end(struct be_supervisor *s);

#endif
