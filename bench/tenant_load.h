/* bench/tenant_load.h -- what tenant_load tells: tenants.py reads it by the same layout */
#ifndef BENCH_TENANT_LOAD_H
#define BENCH_TENANT_LOAD_H

#include <stdatomic.h>
#include <stdint.h>

#define TENANT_ROWS     8
#define TENANT_REQUESTS 4096

struct tenant_row {
    atomic_uint_least64_t ready, done_ns, kernels;
    atomic_uint_least64_t requests;    /* so many of these are filled */
    int64_t first_ns[TENANT_REQUESTS]; /* arrival to the first kernel's end, but for its length */
    int64_t whole_ns[TENANT_REQUESTS]; /* arrival to the end of all, but for their lengths */
    int64_t work_ns[TENANT_REQUESTS];  /* their lengths */
};

#endif
