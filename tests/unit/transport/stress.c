/* tests/unit/transport/stress.c -- everything that may happen at once, at once
 *
 * Two senders and two receivers on one pair of lanes, while another thread wakes, asks for
 * counters and changes the spin; then shutdowns in the middle. A plain program, because Criterion
 * does not run under ThreadSanitizer, which is this test's best reader.
 */
#include "tests/unit/transport/need.h"
#include "tests/unit/transport/pair.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define FRAMES      2000
#define PAYLOAD_MAX 80000 /* by a further lane, where there are any */

static atomic_bool over;

struct direction {
    struct tp_lane *from, *to;
    uint32_t seed;
    bool cut; /* an error is what we expect, sooner or later */
};

static size_t
payload_bytes(uint32_t i)
{
    return i % 50 == 0 ? PAYLOAD_MAX : i * 37 % 900;
}

static void *
sender(void *arg)
{
    struct direction *d = arg;
    uint8_t *payload = malloc(PAYLOAD_MAX);
    enum gp_status status = GP_OK;

    for (uint32_t i = 0; i < FRAMES && status == GP_OK; i++) {
        test_fill(payload, payload_bytes(i), d->seed + i);
        status = test_send(d->from, i, payload, payload_bytes(i));
    }
    need(status == GP_OK || d->cut);
    free(payload);
    return NULL;
}

static void *
receiver(void *arg)
{
    struct direction *d = arg;
    enum gp_status status;
    struct tp_frame frame;

    for (uint32_t i = 0; i < FRAMES; i++) {
        do
            status = tp_recv_frame(d->to, &frame, test_soon());
        while (status == GP_ERR_AGAIN); /* woken */
        if (status != GP_OK && d->cut)
            return NULL;
        need(status == GP_OK);
        need(test_tag(&frame) == i && frame.payload_bytes == payload_bytes(i));
        need(test_is_filled(frame.payload, frame.payload_bytes, d->seed + i));
    }
    return NULL;
}

static void *
meddler(void *arg)
{
    struct test_pair *p = arg;
    struct tp_stats stats;
    uint32_t spin = 0;

    while (!atomic_load(&over)) {
        tp_wake(p->client);
        tp_wake(p->server);
        tp_stats(p->client, &stats);
        need(tp_peer(p->server)->address[0] != '\0' && tp_caps(p->client) != 0);
        tp_set_spin(p->client, spin++ % 100);
    }
    return NULL;
}

static void
run(const char *transport, bool cut)
{
    pthread_t threads[4], meddling;
    struct direction way[2];
    struct test_pair p;

    test_pair_open(transport, NULL, &p);
    way[0] = (struct direction){p.client, p.server, 1, cut};
    way[1] = (struct direction){p.server, p.client, 1000000, cut};
    atomic_store(&over, false);
    need(pthread_create(&meddling, NULL, meddler, &p) == 0);
    for (int i = 0; i < 4; i++)
        need(pthread_create(&threads[i], NULL, i < 2 ? sender : receiver, &way[i % 2]) == 0);
    if (cut) {
        struct tp_stats stats;

        do
            tp_stats(p.server, &stats);
        while (stats.frames_received < FRAMES / 10);
        tp_shutdown(p.client);
        tp_shutdown(p.client);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&over, true);
    pthread_join(meddling, NULL);
    test_pair_close(&p);
}

int
main(void)
{
    static const char *const transports[] = {"loop", "tcp", "tls", "shm", "tcp+", "tls+"};
    const char *only = getenv("TEST_TRANSPORT"); /* one that needs a device (tests/rdma) */

    if (only != NULL) {
        run(only, false);
        run(only, true);
        return 0;
    }
    for (size_t i = 0; i < GP_ARRAY_LEN(transports); i++) {
        run(transports[i], false);
        run(transports[i], true);
    }
    return 0;
}
