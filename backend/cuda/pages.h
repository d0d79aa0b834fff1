/* backend/cuda/pages.h -- memory that the client's program and kernels reach at one address
 *
 * Managed memory is device memory of the session or a managed variable of the driver; mapped host
 * memory is ours (memory/host.h). A region remembers a digest of what both sides last had of each
 * page; what is unchanged since is not sent.
 *
 * Threads: the executor. Copies go on a stream of their own and are waited for: they depend on
 *          nothing that the client queued.
 */
#ifndef BE_PAGES_H
#define BE_PAGES_H

#include "backend/cuda/call.h"
#include "backend/memory/host.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BE_PAGE_BYTES    4096u
#define BE_PAGES_REGIONS 1048576u
#define BE_PAGES_FETCH   (1u << 20) /* bytes of one gpPagesFetch at most */

struct be_digest {
    /* Both 0: as at the beginning, which is zeros but for a variable; b alone: not known. */
    uint64_t a, b;
};

enum be_region_kind {
    BE_REGION_MANAGED,  /* inside the session's range */
    BE_REGION_VARIABLE, /* the driver's */
    BE_REGION_HOST,
};

struct be_pages_region {
    uint64_t base, bytes; /* as the client names it */
    uint64_t local;       /* HOST: where we reach it */
    uint64_t device;      /* what kernels call base */
    enum be_region_kind kind;
    struct be_context *context; /* it ends with it; NULL: with its owner */
    const void *owner;          /* VARIABLE: the library */
    struct be_digest *digests;  /* of each page that it touches */
};

struct be_pages {
    struct be_host host;
    struct be_pages_region **list; /* sorted by base, never overlapping */
    size_t count, room;
    uint8_t *image;    /* BE_PAGES_FETCH bytes, for what is read */
    bool primary_kept; /* of device 0, for variables before there is a context */
    CUcontext primary;
};

void be_pages_init(struct be_pages *pages, const struct be_driver_table *driver);
void be_pages_destroy(struct be_session *session);
/* Regions of a context that ends, or variables of a library that goes; nothing of it runs. */
void be_pages_drop(struct be_session *session, const void *gone);
/* A managed variable becomes a region. */
CUresult be_pages_variable(struct be_call *call, uint64_t address, uint64_t bytes,
                           const void *owner);
/* Whether kernels' addresses [address, address + bytes) lie in one region of host memory or
 * variable. */
bool be_pages_reach(const struct be_session *session, uint64_t address, uint64_t bytes);

/* Of a page's bytes; never unknown. */
struct be_digest be_digest_of(const uint8_t *bytes, size_t len);

#endif
