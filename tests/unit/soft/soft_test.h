/* tests/unit/soft/soft_test.h -- a module of PTX text, memory, and launches without a driver */
#ifndef SOFT_TEST_H
#define SOFT_TEST_H

#include "backend/driver/soft/exec/exec.h"
#include "protocol/base/util.h"

#include <criterion/criterion.h>

#define PTX_HEAD ".version 8.0\n.target sm_80\n.address_size 64\n"

struct soft {
    struct sd_module *module;
    struct sd_pool *pool;
    struct sd_fault fault; /* of the last launch */
    char *printed;         /* NUL-terminated */
    size_t printed_len;
    _Atomic int cancel_after; /* polls until a launch is cancelled; 0: never */
    _Atomic int polls;
    struct sd_span spans[32];
    unsigned nspans;
    _Atomic uint64_t epoch;
    struct sd_env env;
};

/* Parse, place, finish; fails the test when that fails. threads as sd_pool_create. */
struct soft *soft_open(const char *ptx, unsigned threads);
struct soft *soft_open_linked(const char *const *ptx, unsigned count, unsigned threads);
void soft_close(struct soft *s);
/* Zeroed device memory, an allocation of its own. */
void *soft_alloc(struct soft *s, size_t bytes);
const struct sd_kernel *soft_kernel(struct soft *s, const char *name);

struct soft_shape {
    uint32_t grid, block;
    uint32_t grid_y, block_y, block_z; /* 0: 1 */
    uint32_t cluster, cluster_y;       /* 0: 1 */
    uint32_t shared;
    bool cooperative;
};

/* args: one 64-bit value per parameter, cut to the parameter's size. */
CUresult soft_launch(struct soft *s, const char *name, struct soft_shape shape,
                     const uint64_t *args);
#define SOFT_ARGS(...) ((const uint64_t[]){__VA_ARGS__, 0})
#define SOFT_PTR(p)    ((uint64_t)(uintptr_t)(p))

#endif
