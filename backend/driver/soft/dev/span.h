/* backend/driver/soft/dev/span.h -- the map of everything that has a device address
 *
 * One map for the process: device memory of all devices, mapped host memory, mappings of
 * virtual memory management. Device addresses are host addresses.
 *
 * Threads: any. Entries are copied out, so that none can vanish in a caller's hand.
 */
#ifndef SD_SPAN_H
#define SD_SPAN_H

#include "backend/driver/soft/dev/dev.h"

enum sd_mem_kind {
    SD_MEM_DEVICE,     /* cuMemAlloc */
    SD_MEM_POOL,       /* cuMemAllocAsync; owner: the pool */
    SD_MEM_MANAGED,    /* cuMemAllocManaged and managed variables */
    SD_MEM_VARIABLE,   /* module variables; owner: the module or library */
    SD_MEM_HOST,       /* cuMemHostAlloc */
    SD_MEM_REGISTERED, /* cuMemHostRegister */
    SD_MEM_VMM,        /* cuMemMap; owner: the physical object */
    SD_MEM_IPC,        /* cuIpcOpenMemHandle */
    SD_MEM_MULTICAST,  /* cuMemMap of a multicast object: for multimem instructions only */
    SD_MEM_GRAPH,      /* of an allocation node; owner: struct sd_graph_mem */
};

struct sd_alloc {
    uint64_t base;
    uint64_t end;   /* what kernels and copies may reach: rounded up unless strict */
    uint64_t bytes; /* as asked for */
    enum sd_mem_kind kind;
    int device;        /* ordinal that owns it; for host memory that of its context */
    uint64_t readable; /* bit per device */
    uint64_t writable;
    unsigned flags; /* of the creating call */
    struct CUctx_st *ctx;
    void *owner;
    uint64_t offset;       /* VMM: into the physical object; POOL: bytes of the block */
    unsigned long long id; /* CU_POINTER_ATTRIBUTE_BUFFER_ID */
    bool sync_memops;
    bool read_mostly; /* advice, given back by cuMemRangeGetAttribute */
    int preferred[2]; /* type and id of the preferred location */
    int prefetched[2];
    uint64_t accessed_by; /* bit per device, bit 63 for the host */
};

static inline bool
sd_mem_is_host(enum sd_mem_kind kind)
{
    return kind == SD_MEM_HOST || kind == SD_MEM_REGISTERED;
}

/* Assigns alloc->id. Errors: CUDA_ERROR_OUT_OF_MEMORY; ALREADY_MAPPED if something is there. */
CUresult sd_map_add(struct sd_alloc *alloc);

/* The entry that holds addr. */
bool sd_map_find(uint64_t addr, struct sd_alloc *out);
/* Takes out the entry that begins at base and is of one of the kinds in the mask (1 << kind). */
bool sd_map_take(uint64_t base, unsigned kinds, struct sd_alloc *out);
/* Takes out any one entry of ctx (owner NULL; pool memory included) or of owner; for teardown. */
bool sd_map_take_of(const struct CUctx_st *ctx, const void *owner, struct sd_alloc *out);
/* Calls change(entry, user) for each entry that overlaps [base, base + bytes), under the lock.
 * Returns how many bytes of the range entries cover. */
uint64_t sd_map_change(uint64_t base, uint64_t bytes, void (*change)(struct sd_alloc *, void *),
                       void *user);

/*
 * Whether [addr, addr + bytes) lies in one allocation, or in adjacent VMM mappings of one kind
 * of access. first_p (may be NULL) gets the first entry.
 */
enum sd_reach {
    SD_REACH_NONE,    /* no device address at all: plain host memory, or nothing */
    SD_REACH_BEYOND,  /* begins in an allocation and leaves it */
    SD_REACH_NO_READ, /* a mapping without access */
    SD_REACH_READ,
    SD_REACH_WRITE, /* read and write */
};
enum sd_reach sd_map_reach(uint64_t addr, uint64_t bytes, struct sd_alloc *first_p);

/* For kernels of device on behalf of a context that reaches peers: adjacent mappings with the
 * same access are given as one range. */
bool sd_map_span(uint64_t addr, int device, uint64_t peers, uint64_t *base_p, uint64_t *end_p,
                 bool *writable_p);

/* Grows whenever an entry goes away or loses access; see struct sd_env. */
extern _Atomic uint64_t sd_map_epoch;

#endif
