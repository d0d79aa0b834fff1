/* backend/memory/window.h -- physical memory at an address of ours, for who fills or copies it
 *
 * Threads: any; with a context of the device current where it is used.
 */
#ifndef BE_WINDOW_H
#define BE_WINDOW_H

#include "backend/driver/driver.h"

#include <stdint.h>

/* All of the object, to be read and written by device. */
CUresult be_window_open(const struct be_driver *driver, CUmemGenericAllocationHandle handle,
                        uint64_t bytes, int32_t device, CUdeviceptr *at_p);
/* Nothing uses it any more. What stays is logged. */
void be_window_close(const struct be_driver *driver, CUdeviceptr at, uint64_t bytes);

#endif
