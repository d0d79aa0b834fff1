/* transport/rdma/absent.c -- in place of all that needs verbs, in a build without them */
#include "transport/lane.h"
#include "transport/rdma/rdma.h"

#include <stdio.h>

#define WHY "rdma: this build leaves it out (meson -Drdma=enabled needs libibverbs-dev)"

size_t
tp_rdma_probe(struct tp_rdma_port *ports, size_t max, char *why)
{
    (void)ports;
    (void)max;
    if (why != NULL)
        snprintf(why, TP_WHY_BYTES, "%s", WHY);
    return 0;
}

bool
tp_rdma_memory_ok(char *why)
{
    snprintf(why, TP_WHY_BYTES, "%s", WHY);
    return false;
}

enum gp_status
tp_rdma_upgrade(struct tp_lane *tls, enum tp_role role, const struct tp_opts *opts,
                struct tp_lane **lane_p)
{
    (void)role;
    (void)lane_p;
    tp_close(tls);
    return tp_fail(opts, GP_ERR_NOT_SUPPORTED, "%s", WHY);
}

const struct tp_scheme tp_scheme_rdma = {
    .name = "rdma",
    .refusal = WHY,
};
