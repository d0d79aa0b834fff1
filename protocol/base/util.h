/* protocol/base/util.h -- small helpers without state */
#ifndef GP_UTIL_H
#define GP_UTIL_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define GP_EXPORT                          __attribute__((visibility("default")))
#define GP_PRINTF(fmt, va)                 __attribute__((format(printf, fmt, va)))
#define GP_LIKELY(x)                       __builtin_expect(!!(x), 1)
#define GP_UNLIKELY(x)                     __builtin_expect(!!(x), 0)
#define GP_ARRAY_LEN(a)                    (sizeof(a) / sizeof((a)[0]))
#define GP_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void
gp_auto_free(void *p)
{
    free(*(void **)p);
}

static inline void
gp_auto_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* Freed or closed when the variable goes out of scope. */
#define GP_AUTO_FREE  __attribute__((cleanup(gp_auto_free)))
#define GP_AUTO_CLOSE __attribute__((cleanup(gp_auto_close)))

static inline uint64_t
gp_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t
gp_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* align must be a power of two; wraps on overflow, check before where it can. */
static inline uint64_t
gp_align_up_u64(uint64_t v, uint64_t align)
{
    return (v + align - 1) & ~(align - 1);
}

#endif
