/* backend/driver/soft/dev/vmm.h -- physical objects and where they are mapped */
#ifndef SD_VMM_H
#define SD_VMM_H

#include "backend/driver/soft/dev/mem.h"

struct sd_team;

/*
 * A physical object: a piece of the device's memory file, or, where it can be exported, a memory
 * file of its own. Lives while a handle or a mapping refers to it.
 */
struct sd_phys {
    struct sd_object obj;

    /* Written once. */
    struct sd_device *dev;
    CUmemAllocationProp prop;
    uint64_t bytes;
    uint64_t place;       /* in the device's file; 0 in one of its own */
    int fd;               /* of its own, else -1 */
    bool imported;        /* counted by the process that made it */
    struct sd_team *team; /* of a multicast object, which has no bytes; else NULL */

    /* Guarded by the lock of vmm.c. */
    unsigned handles;
    unsigned mappings;
};

unsigned sd_phys_handle_types(const void *phys);
unsigned sd_phys_usage(const void *phys); /* CU_MEM_CREATE_USAGE_* */

/* Multicast objects (multicast.h). The lock of vmm.c; an object that was not released; one handle
 * or mapping less; a mapping of the device's own, 0 if there is no room. */
pthread_mutex_t *sd_vmm_mutex(void);
CUresult sd_phys_of(CUmemGenericAllocationHandle handle, struct sd_phys **phys_p);
void sd_phys_put(struct sd_phys *phys, bool mapping);
uint64_t sd_phys_alias(const struct sd_phys *phys, uint64_t offset, uint64_t bytes);

/* True inside a device's memory or a reservation, whether anything is behind it or not. */
bool sd_address_is_device(uint64_t addr);

#endif
