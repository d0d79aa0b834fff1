/* tests/differential/arguments.h -- arguments made up for a random call, and what came out */
#ifndef ARGUMENTS_H
#define ARGUMENTS_H

#include "objects.h"

#include <stddef.h>
#include <stdio.h>

/* Where outputs land and structures lie; one call at a time. */
struct made {
    uint64_t value[ARGS_MAX]; /* as passed */
    union {
        unsigned char bytes[4096];
        uint64_t u64[512];
        uint32_t u32[1024];
    } room[ARGS_MAX];
    struct object *object[ARGS_MAX]; /* of an input that is a living object */
    struct object *memory;           /* the first device address */
    bool careful;                    /* nothing that is wrong, as far as that is known */
    uint64_t left;                   /* bytes behind the last address, UINT64_MAX: no address yet */
    bool host_used;                  /* sizes must fit the host buffer */
    char text[1024];                 /* for the trace */
    size_t text_len;
};

#define HOST_BYTES (256u << 10)

extern unsigned char host_buffer[HOST_BYTES];
extern const char *const kernel_image; /* PTX */
extern _Atomic unsigned host_calls;    /* host functions that ran */

#define GROUPS_MAX 4u

void make_arguments(const struct call *call, struct made *m, bool careful);

#endif
