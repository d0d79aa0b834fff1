/* bench/place.c -- how long placement takes with many servers in one etcd
 *
 * Writes SERVERS simulated servers with GPUS GPUs each under one lease, then places CLIENTS
 * programs one after the other as gpupool run does: one read of all entries, the order, without
 * measuring the way to servers, which are not there. Prints the times and what the reads moved.
 */
#include "protocol/directory/entry.h"
#include "protocol/directory/etcd.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/options.h"
#include "protocol/base/util.h"

#include <stdio.h>
#include <string.h>

static const struct gp_option options[] = {
    {"etcd", "URL", GP_OPT_URLS, "http://127.0.0.1:2379", "where to write and read"},
    {"ca", "FILE", GP_OPT_PATH, NULL, "who signed its certificate, PEM"},
    {"cert", "FILE", GP_OPT_PATH, NULL, "a certificate for it, PEM"},
    {"key", "FILE", GP_OPT_PATH, NULL, "its private key, PEM"},
    {"servers", "N", GP_OPT_NUMBER, "200", "how many"},
    {"gpus", "N", GP_OPT_NUMBER, "8", "of each"},
    {"clients", "N", GP_OPT_NUMBER, "2000", "how many placements"},
    {NULL},
};
static const struct gp_option_set set = {"place", "", NULL, NULL, options};

struct reading {
    struct dir_servers servers;
    uint64_t bytes;
};

static bool
server_write(struct dir_etcd *etcd, uint64_t lease, uint32_t number, uint32_t gpus)
{
    static const char *const models[] = {"h200", "a100", "l20", "h100"};
    static const struct dir_about about = {.version = "simulated", .driver = "none"};
    struct place_server server = {.cost = number % 4 == 0 ? PLACE_CLOUD : PLACE_ONPREM,
                                  .sessions_max = 256,
                                  .gpu_count = gpus};
    GP_AUTO_FREE char *value = NULL;
    char key[DIR_KEY_BYTES];

    snprintf(server.name, sizeof(server.name), "server%u", number);
    snprintf(server.region, sizeof(server.region), "region%u", number % 5);
    snprintf(server.urls, sizeof(server.urls), "tls://server%u.example:7470", number);
    for (uint32_t i = 0; i < gpus; i++) {
        struct place_gpu *gpu = &server.gpus[i];

        snprintf(gpu->model, sizeof(gpu->model), "%s", models[number % 4]);
        snprintf(gpu->uuid, sizeof(gpu->uuid), "GPU-%08x-0000-0000-0000-%012x", number, i);
        gpu->total_bytes = 141ull << 30;
        gpu->free_bytes = (uint64_t)((number * 37 + i * 11) % 141) << 30;
        gpu->share_free = 100;
        gpu->healthy = true;
    }
    value = dir_server_value(&server, &about);
    return value != NULL && dir_server_key(&server, key) &&
           dir_etcd_put(etcd, key, value, lease) == GP_OK;
}

static void
entry(void *user, const char *key, const char *value, uint64_t created)
{
    struct reading *reading = user;

    (void)created;
    reading->bytes += strlen(key) + strlen(value);
    (void)!dir_servers_take(&reading->servers, key, value);
}

/* Its time; 0 if nothing fits. */
static uint64_t
place_one(struct dir_etcd *etcd, uint32_t client, uint64_t *bytes_p)
{
    struct place_need need = {
        .gpus = 1 + client % 4, .memory_bytes = (uint64_t)(client % 64) << 30, .model_count = 1};
    struct reading reading = {0};
    uint64_t began = gp_now_ns(), ns = 0;
    uint32_t *order;

    snprintf(need.models[0], DIR_MODEL_BYTES, "%s", client % 2 == 0 ? "h*" : "a100");
    if (dir_etcd_range(etcd, DIR_PREFIX, entry, &reading) == GP_OK) {
        order = calloc(reading.servers.count + 1, sizeof(*order));
        if (order != NULL &&
            place_order(&need, reading.servers.list, reading.servers.count, order) > 0)
            ns = gp_now_ns() - began;
        free(order);
    }
    *bytes_p = reading.bytes;
    dir_servers_fini(&reading.servers);
    return ns;
}

static int
by_size(const void *x, const void *y)
{
    const uint64_t *a = x, *b = y;

    return (*a > *b) - (*a < *b);
}

static int
measure(struct dir_etcd *etcd, uint64_t clients)
{
    uint64_t *times = calloc(clients + 1, sizeof(*times)), bytes = 0, began = gp_now_ns(),
             failed = 0;

    for (uint64_t i = 0; times != NULL && i < clients; i++) {
        times[i] = place_one(etcd, (uint32_t)i, &bytes);
        failed += times[i] == 0;
    }
    if (times == NULL || clients == 0)
        return 1;
    qsort(times, clients, sizeof(*times), by_size);
    printf("%llu placements in %.1f s: median %.2f ms, 99%% %.2f ms, %llu bytes each, %llu found "
           "nothing\n",
           (unsigned long long)clients, (double)(gp_now_ns() - began) / 1e9,
           (double)times[clients / 2] / 1e6, (double)times[clients * 99 / 100] / 1e6,
           (unsigned long long)bytes, (unsigned long long)failed);
    free(times);
    return failed > 0;
}

int
main(int argc, char **argv)
{
    struct dir_etcd_config config = {0};
    struct dir_etcd *etcd;
    struct gp_options *o;
    uint64_t lease = 0, began;
    int next, rc = 1;

    if (gp_options_create(&set, &o) != GP_OK || gp_options_load_args(o, argc, argv, &next) != GP_OK)
        return 2;
    for (size_t i = 0; i < gp_options_count(o, "etcd") && i < DIR_ENDPOINTS_MAX; i++)
        config.endpoints[config.endpoint_count++] = gp_options_at(o, "etcd", i);
    config.ca = gp_options_text(o, "ca");
    config.cert = gp_options_text(o, "cert");
    config.key = gp_options_text(o, "key");
    if (dir_etcd_create(&config, &etcd) != GP_OK)
        return 1;
    began = gp_now_ns();
    rc = dir_etcd_grant(etcd, 600, &lease) != GP_OK;
    for (uint32_t i = 0; rc == 0 && i < gp_options_u64(o, "servers"); i++)
        rc = !server_write(etcd, lease, i, (uint32_t)gp_options_u64(o, "gpus"));
    if (rc != 0)
        fprintf(stderr, "place: %s\n", dir_etcd_why(etcd));
    else
        printf("%llu servers with %llu GPUs written in %.1f s\n",
               (unsigned long long)gp_options_u64(o, "servers"),
               (unsigned long long)gp_options_u64(o, "gpus"), (double)(gp_now_ns() - began) / 1e9);
    if (rc == 0)
        rc = measure(etcd, gp_options_u64(o, "clients"));
    if (lease != 0)
        (void)!dir_etcd_revoke(etcd, lease);
    dir_etcd_destroy(etcd);
    gp_options_destroy(o);
    return rc;
}
