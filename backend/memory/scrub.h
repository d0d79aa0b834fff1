/* backend/memory/scrub.h -- zeros over physical memory before a session gets it
 *
 * The driver may hand out memory as the last owner left it, and a worker that was killed cleans
 * nothing up. So with tenants what is fresh is filled with zeros before the client can name it.
 *
 * Threads: the executor. Waits for the fill, which waits for nothing else: its stream is its own.
 */
#ifndef BE_SCRUB_H
#define BE_SCRUB_H

#include "backend/driver/driver.h"

#include <stdint.h>

/* A context of the device is current; the range is mapped and may be written. */
CUresult be_scrub_range(const struct be_driver *driver, uint64_t address, uint64_t bytes);
/* Memory that is mapped nowhere yet. */
CUresult be_scrub_handle(const struct be_driver *driver, CUmemGenericAllocationHandle handle,
                         uint64_t bytes, int32_t device);

#endif
