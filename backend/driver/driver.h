/* backend/driver/driver.h -- the CUDA driver of a worker: a table of functions, each may be NULL
 *
 * Ownership: the table stays valid until be_driver_close().
 * Threads:   read-only after be_driver_open().
 */
#ifndef BE_DRIVER_H
#define BE_DRIVER_H

#include "be_driver_table.h"
#include "protocol/abi/near.h"
#include "protocol/base/status.h"

#include <stdbool.h>
#include <stddef.h>

#define BE_DRIVER_DEVICES_MAX 64

struct be_driver {
    struct be_driver_table table;
    void *library;                    /* NULL: the table was filled by hand (tests) */
    int version;                      /* cuDriverGetVersion */
    bool software;                    /* the devices are the software device's */
    const struct gp_near_table *near; /* the software device's; NULL: its memory is not ours */
    char text[128];                   /* "cuda 13.0", "software device" */
    int device_count;
};

/*
 * Load name ("cuda", "soft" or a path), initialise it and count its devices.
 *
 * Errors: logged. GP_ERR_NOT_FOUND if there is no such library, GP_ERR_NOT_SUPPORTED if it is no
 *         CUDA driver or lacks what the server cannot do without, GP_ERR_IO if cuInit fails.
 */
GP_CHECK enum gp_status be_driver_open(const char *name, struct be_driver *driver_p);
void be_driver_close(struct be_driver *driver);

/* "CUDA_ERROR_INVALID_VALUE"; never NULL. */
const char *be_driver_error(const struct be_driver *driver, CUresult cr);

#endif
