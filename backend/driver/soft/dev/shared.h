/* backend/driver/soft/dev/shared.h -- one device for several processes
 *
 * Processes whose profile names the same `shared` use one segment: bytes of all count against
 * the device's memory, and an engine serves one of them at a time. What a dead process held is
 * given back when somebody needs it. Without a name each process has a device to itself.
 *
 * Threads: any.
 */
#ifndef SD_SHARED_H
#define SD_SHARED_H

#include "backend/driver/soft/dev/dev.h"

enum sd_engine {
    SD_ENGINE_COMPUTE,
    SD_ENGINE_COPY_IN,
    SD_ENGINE_COPY_OUT,
    SD_ENGINES,
};

/* By cuInit; name "" for none. Errors: CUDA_ERROR_OPERATING_SYSTEM (logged). */
CUresult sd_shared_open(const char *name);
bool sd_shared_on(void);

/* Counts bytes of this process on a device. Errors: CUDA_ERROR_OUT_OF_MEMORY when all processes
 * together would have more than total. */
CUresult sd_shared_charge(int device, uint64_t bytes, uint64_t total);
void sd_shared_uncharge(int device, uint64_t bytes);
/* What all processes have. */
uint64_t sd_shared_used(int device);

/* An engine of a device, among the processes and, without a segment, in this process. *free_p is
 * until when it had work, by the model, and the caller's to set while it has the engine. */
void sd_engine_lock(int device, enum sd_engine engine, uint64_t **free_p);
void sd_engine_unlock(int device, enum sd_engine engine);

#endif
