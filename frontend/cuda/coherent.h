/* frontend/cuda/coherent.h -- memory that the program and kernels reach at one address
 *
 * Managed memory, managed variables and host memory that kernels may reach are regions. Work that
 * may touch them is posted between fe_coherent_begin(), which sends what the program changed, and
 * fe_coherent_end(); from then on the program's pages are protected, and what kernels changed is
 * fetched when it touches them (fault.h). Nothing is looked for: a region costs a launch nothing
 * until the program touches it.
 *
 * Threads: any. One lock, held from begin to end; taken outside the submission lock. Who holds it
 *          touches no memory of the program but what is protected for it.
 */
#ifndef FE_COHERENT_H
#define FE_COHERENT_H

#include "frontend/cuda/copy.h"
#include "frontend/cuda/objects.h"
#include "frontend/cuda/pages.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fe_region_kind {
    FE_REGION_MANAGED,
    FE_REGION_VARIABLE, /* pages that hold managed variables */
    FE_REGION_HOST,
};

struct fe_region_info {
    enum fe_region_kind kind;
    uint64_t base, bytes; /* whole pages of this process */
    struct fe_context *owner;
    struct fe_session *session; /* of the server that has the pages */
    const void *key;            /* for fe_coherent_drop() */
    bool read_only;             /* kernels do not write there */
    bool own;   /* the program's own memory: what is in it stays when it is removed */
    bool dirty; /* what is there now has to be sent; else both sides have zeros */
};

/* Whether anything has to be done around work: regions, or host memory that may become one. */
extern _Atomic unsigned fe_coherent_count;
static inline bool
fe_coherent_active(void)
{
    return atomic_load_explicit(&fe_coherent_count, memory_order_acquire) != 0;
}

/* Whether any pages of the program may be guarded now. Pinned memory that no kernel has come to
 * reach has none. */
bool fe_coherent_guards(void);

/* Errors: OUT_OF_MEMORY, ALREADY_MAPPED. */
CUresult fe_coherent_add(const struct fe_region_info *info);
/* A variable's bytes; pages of it that are not there yet are mapped here. Errors:
 * CUDA_ERROR_NOT_SUPPORTED (named in the log) where something else lies at its address, such as a
 * variable of another server. */
CUresult fe_coherent_add_variable(uint64_t address, uint64_t bytes, struct fe_session *session,
                                  const void *key);
/* Part of a page of the program's own that kernels may reach and that cannot be protected. */
CUresult fe_coherent_add_edge(const struct fe_region_info *info);
/* Regions and edges that lie in a range go; the memory is the program's again, with what is there
 * in the end. */
void fe_coherent_remove(uint64_t base, uint64_t bytes);
/* The same for all of a key: a context or a library. */
void fe_coherent_drop(const void *key);

/* Which work makes a managed memory stale: CU_MEM_ATTACH_*. */
void fe_coherent_attach(uint64_t address, unsigned flags, const struct fe_where *where);
/* The next touch brings the whole range. */
void fe_coherent_bring(uint64_t address, uint64_t bytes);

struct fe_span {
    uint64_t address, bytes;
    bool written;
};

/*
 * Around posting work to a stream: spans say what it touches, NULL that it may touch anything. Only
 * where fe_coherent_active(). On error nothing is held and nothing must be posted; else
 * fe_coherent_end() must follow, whether or not the work could be posted.
 */
CUresult fe_coherent_begin(const struct fe_where *where, const struct fe_span *spans, size_t count);
void fe_coherent_end(struct fe_call *call, const struct fe_where *where);

/* By the thread that serves faults, or any other that holds no lock: make a page readable or
 * writable. False if it is none of ours. */
bool fe_coherent_resolve(uint64_t address, bool write);
/* The same thread, or another that holds no lock: whether a touch can be served now. Not, while
 * kernels are under way that may change managed memory: host and device shall not both have it, and
 * a program that touches it meanwhile means that both changes count. Asks the server. */
bool fe_coherent_settled(uint64_t address);
/* That took too long, perhaps kernels wait for the program: no touch waits any more until all work
 * is done. */
void fe_coherent_impatient(void);
/* All of a range that is ours, for a system call or for reading under a lock. */
void fe_coherent_resolve_range(const void *address, size_t bytes, bool write);
/* What is written while work is under way reaches it, what it writes is looked for; when to come
 * again, 0: when called. By the thread that serves faults. */
uint64_t fe_coherent_pump(void);
/* Whether this thread holds the lock: a fault in it cannot be served. */
bool fe_coherent_inside(void);
/* Once: what fork needs. */
void fe_coherent_forks(void);
/* In a forked child there is no server: the page is its own, with what is there. Signal handler. */
bool fe_coherent_orphan(uint64_t address);

/* For tests: bytes that went each way, and faults. */
struct fe_coherent_stats {
    uint64_t pushed, fetched, faults;
};
void fe_coherent_stats(struct fe_coherent_stats *stats_p);

#endif
