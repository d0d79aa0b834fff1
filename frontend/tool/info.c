/* frontend/tool/info.c -- gpupool info: what the pool would give to a program started here */
#include "frontend/tool/tool.h"

#include "frontend/core/line.h"
#include "frontend/core/visible.h"
#include "protocol/base/util.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ROUNDS 51

static const struct gp_option options[] = {
    TOOL_CLIENT_OPTIONS,
    {NULL},
};
static const struct gp_option_set set = {"gpupool info", "", NULL, NULL, options};
static const char examples[] = "\nExamples:\n"
                               "  gpupool info\n"
                               "  gpupool info --server tls://gpu1.example:7470\n"
                               "Exit code 0 if a session could be opened, 1 if not.\n";

static bool
round_trip(struct fe_session *s, uint64_t *ns_p)
{
    uint64_t begin = gp_now_ns();
    const uint8_t *bytes;
    struct fe_call call;
    size_t len;
    CUresult cr;

    if (fe_enter_on(&call, WIRE_CALL_gpBarrier, s) != CUDA_SUCCESS)
        return false;
    if (fe_post(&call, 0) == NULL)
        return false;
    fe_post_done(&call);
    cr = fe_leave(&call, fe_wait(&call, &bytes, &len));
    *ns_p = gp_now_ns() - begin;
    return cr == CUDA_SUCCESS;
}

static int
by_size(const void *x, const void *y)
{
    const uint64_t *a = x, *b = y;

    return (*a > *b) - (*a < *b);
}

static void
print_round_trip(struct fe_session *s)
{
    uint64_t ns[ROUNDS];
    int i;

    for (i = 0; i < ROUNDS; i++)
        if (!round_trip(s, &ns[i]))
            return;
    qsort(ns, ROUNDS, sizeof(ns[0]), by_size);
    printf("round trip: %.1f us median, %.1f us least\n", (double)ns[ROUNDS / 2] / 1e3,
           (double)ns[0] / 1e3);
}

/* A session that went over to another lane was opened by TLS, and is not encrypted any more. */
static void
print_transport(const struct tp_lane *lane)
{
    const struct tp_peer *peer = tp_peer(lane);
    const char *scheme = tp_scheme(lane);

    if (peer->cipher[0] == '\0')
        printf("transport:  %s\n", scheme);
    else if (strcmp(scheme, "tls") == 0)
        printf("transport:  tls, %s, %s\n", peer->protocol, peer->cipher);
    else
        printf("transport:  %s, not encrypted, opened by %s\n", scheme, peer->protocol);
}

/* Its devices by the numbers that a program gives them. */
static void
print_session(struct fe_session *s)
{
    const struct fe_sessions *all = fe_sessions();
    char uuid[48];

    printf("server:     %s (%s)\n", s->server[0] != '\0' ? s->server : "without a name", s->url);
    print_transport(s->line->lane);
    printf("driver:     %s, CUDA %d.%d%s\n", s->driver, s->driver_version / 1000,
           s->driver_version % 1000 / 10, s->software ? " (no GPU: computes on the CPU)" : "");
    print_round_trip(s);
    for (unsigned i = 0; i < all->device_count; i++) {
        const struct wire_device *d = all->devices[i].info;

        if (all->devices[i].session != s)
            continue;
        fe_uuid_text("GPU-", d->uuid, uuid);
        printf("device %-4u %s, %" PRIu64 " MiB, %" PRIu64 " free, %s, %s\n", i, d->name,
               d->total_bytes >> 20, d->free_bytes >> 20, d->pci_bus_id, uuid);
    }
}

int
tool_info(int argc, char **argv)
{
    struct gp_options *o;
    int next, rc = tool_options(&set, examples, argc, argv, &o, &next);

    if (rc >= 0)
        return rc;
    gp_options_destroy(o);
    if (next < argc) {
        fprintf(stderr, "gpupool info: unexpected argument %s\n", argv[next]);
        return TOOL_USAGE;
    }
    if (fe_start() != CUDA_SUCCESS)
        return TOOL_FAILED; /* one line has said why */
    for (unsigned i = 0; i < fe_sessions()->count; i++)
        print_session(fe_sessions()->list[i]);
    return 0;
}
