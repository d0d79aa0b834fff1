/* tests/unit/transport/params.h -- over which transports a body runs */
#ifndef TEST_PARAMS_H
#define TEST_PARAMS_H

#include "tests/unit/transport/pair.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>

/* All of these, or the one that TEST_TRANSPORT names (which needs a device: tests/rdma). */
static inline struct criterion_test_params
test_transports(struct transport_param *all, size_t count)
{
    static struct transport_param one;
    const char *name = getenv("TEST_TRANSPORT");

    if (name == NULL)
        return cr_make_param_array(struct transport_param, all, count);
    snprintf(one.name, sizeof(one.name), "%s", name);
    return cr_make_param_array(struct transport_param, &one, 1);
}

#endif
