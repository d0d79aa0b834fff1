/* tests/differential/arguments_priv.h -- what makes arguments, for those that make bigger ones */
#ifndef ARGUMENTS_PRIV_H
#define ARGUMENTS_PRIV_H

#include "arguments.h"

#include "cuda_api.h"

/* Far beyond everything: what lies a little behind an allocation is undefined, also in its code. */
#define TOO_MANY (1ull << 40)

/* Into the trace. */
void say(struct made *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

uint64_t one_of(const uint64_t *values, size_t count);
#define ONE_OF(...)                                                                                \
    one_of((const uint64_t[]){__VA_ARGS__},                                                        \
           sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

uint64_t pick_object(struct made *m, int at, enum object_kind kind);
uint64_t pick_address(struct made *m, const struct call *call, int at);
void **kernel_params(struct made *m, int at);
uint64_t copy_3d(struct made *m, const struct call *call, int at);
void host_function(void *data);

/* families.c: the argument as it is passed. */
uint64_t make_family(const struct call *call, struct made *m, int at);
/* All arguments of a call that takes lists. */
void make_batch(const struct call *call, struct made *m);

#endif
