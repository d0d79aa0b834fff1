/* backend/memory/phys.h -- physical memory that the client names, and its mappings
 *
 * What the program does itself with virtual memory management. An object is charged to the lease
 * of its device from its creation until neither the client's id nor a mapping holds it. Mappings
 * lie in the session's range, among the allocations and apart from them.
 *
 * Threads: the session's executor; space.lock (rank 10) guards the books, as mapping does not
 *          wait for the device.
 * Hostile input: every address, length and bit is checked here.
 */
#ifndef BE_PHYS_H
#define BE_PHYS_H

#include "backend/memory/space.h"

struct be_phys;

struct be_phys_wish {
    uint64_t bytes;
    int32_t device;
    uint32_t handle_types; /* CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR or nothing */
    uint8_t compression, rdma;
    uint16_t usage;
};

/* OUT_OF_MEMORY over the lease or where the driver has none. *phys_p is held until be_phys_put. */
CUresult be_phys_create(struct be_space *space, const struct be_phys_wish *wish,
                        struct be_phys **phys_p);
/* The client's id of it is gone. */
void be_phys_put(struct be_space *space, struct be_phys *phys);

CUresult be_phys_map(struct be_space *space, struct be_phys *phys, uint64_t address, uint64_t bytes,
                     uint64_t offset);
/* Mappings that tile the range. */
CUresult be_phys_unmap(struct be_space *space, uint64_t address, uint64_t bytes);

struct be_access {
    uint64_t named; /* devices whose access changes, a bit for each */
    uint64_t readable, writable;
};
CUresult be_phys_access(struct be_space *space, uint64_t address, uint64_t bytes,
                        const struct be_access *access);

#endif
