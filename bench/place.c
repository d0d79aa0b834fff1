/* bench/place.c -- placement with many servers in one etcd, and many programs that come at once
 *
 * Writes SERVERS simulated servers with GPUS GPUs each under one lease. THREADS threads then place
 * CLIENTS programs as gpupool run does: one read of all entries, the order, and the first server
 * of it that admits, without measuring the way to servers, which are not there. A simulated server
 * has the last word as a real one has: it knows what it gave away, its entry is up to a second
 * late. Programs stay. Prints times, what etcd was asked, how many were refused by whom they chose,
 * and whether any server gave away more than it has.
 */
#include "protocol/directory/entry.h"
#include "protocol/directory/etcd.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/options.h"
#include "protocol/base/util.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct gp_option options[] = {
    {"etcd", "URL", GP_OPT_URLS, "http://127.0.0.1:2379", "where to write and read"},
    {"ca", "FILE", GP_OPT_PATH, NULL, "who signed its certificate, PEM"},
    {"cert", "FILE", GP_OPT_PATH, NULL, "a certificate for it, PEM"},
    {"key", "FILE", GP_OPT_PATH, NULL, "its private key, PEM"},
    {"servers", "N", GP_OPT_NUMBER, "200", "how many"},
    {"gpus", "N", GP_OPT_NUMBER, "8", "of each"},
    {"clients", "N", GP_OPT_NUMBER, "2000", "how many placements"},
    {"threads", "N", GP_OPT_NUMBER, "1", "so many at once, 64 at most"},
    {NULL},
};
static const struct gp_option_set set = {"place", "", NULL, NULL, options};

#define SERVERS_MAX  10000
#define SESSIONS_MAX 256
#define TOTAL_BYTES  (141ull << 30)

/* The servers as they are; lock guards all but what is written once. */
struct fleet {
    pthread_mutex_t lock;
    struct place_server *servers;
    bool *changed;   /* since their entry was written */
    uint32_t *given; /* sessions, counted by the clients themselves */
    uint64_t *taken; /* bytes of each GPU, likewise */
    uint32_t count, gpus;
    struct dir_etcd_config etcd;
    uint64_t lease, writes;
    _Atomic bool over;
};

struct clients {
    struct fleet *fleet;
    pthread_t thread;
    uint64_t *times; /* of all */
    uint32_t first, step, count;
    uint64_t bytes, reads, refused, none, failed;
};

struct reading {
    struct dir_servers servers;
    uint64_t bytes;
};

/* -- servers ----------------------------------------------------------------------------------- */

static void
server_make(struct place_server *server, uint32_t number, uint32_t gpus)
{
    static const char *const models[] = {"h200", "a100", "l20", "h100"};

    *server = (struct place_server){.cost = number % 4 == 0 ? PLACE_CLOUD : PLACE_ONPREM,
                                    .sessions_max = SESSIONS_MAX,
                                    .gpu_count = gpus};
    snprintf(server->name, sizeof(server->name), "server%u", number);
    snprintf(server->region, sizeof(server->region), "region%u", number % 5);
    snprintf(server->urls, sizeof(server->urls), "tls://server%u.example:7470", number);
    for (uint32_t i = 0; i < gpus; i++) {
        struct place_gpu *gpu = &server->gpus[i];

        snprintf(gpu->model, sizeof(gpu->model), "%s", models[number % 4]);
        snprintf(gpu->uuid, sizeof(gpu->uuid), "GPU-%08x-0000-0000-0000-%012x", number, i);
        gpu->total_bytes = TOTAL_BYTES;
        gpu->free_bytes = (uint64_t)((number * 37 + i * 11) % 141) << 30;
        gpu->share_free = 100;
        gpu->healthy = true;
    }
}

static bool
server_write(struct dir_etcd *etcd, uint64_t lease, const struct place_server *server)
{
    static const struct dir_about about = {.version = "simulated", .driver = "none"};
    GP_AUTO_FREE char *value = dir_server_value(server, &about);
    char key[DIR_KEY_BYTES];

    return value != NULL && dir_server_key(server, key) &&
           dir_etcd_put(etcd, key, value, lease) == GP_OK;
}

/* What a server does when a program comes: only what it has is given. The number is in its name. */
static bool
server_admits(struct fleet *fleet, const struct place_need *need, const char *name)
{
    uint32_t number = (uint32_t)strtoul(name + strlen("server"), NULL, 10), left = need->gpus;
    struct place_server *server = &fleet->servers[number];
    char why[PLACE_TEXT];
    bool ok;

    pthread_mutex_lock(&fleet->lock);
    ok = server->sessions < server->sessions_max &&
         place_server_meets(need, server, why) >= need->gpus;
    for (uint32_t i = 0; ok && left > 0; i++) {
        if (!place_gpu_meets(need, &server->gpus[i]))
            continue;
        server->gpus[i].free_bytes -= need->memory_bytes;
        server->gpus[i].sessions++;
        fleet->taken[number * fleet->gpus + i] += need->memory_bytes;
        left--;
    }
    if (ok) {
        server->sessions++;
        fleet->given[number]++;
        fleet->changed[number] = true;
    }
    pthread_mutex_unlock(&fleet->lock);
    return ok;
}

/* The servers' registrars: once a second, what changed. */
static void *
registrars(void *user)
{
    struct fleet *fleet = user;
    struct dir_etcd *etcd;

    if (dir_etcd_create(&fleet->etcd, &etcd) != GP_OK)
        return NULL;
    while (!atomic_load(&fleet->over)) {
        for (uint32_t i = 0; i < fleet->count; i++) {
            struct place_server server;
            bool changed;

            pthread_mutex_lock(&fleet->lock);
            changed = fleet->changed[i];
            fleet->changed[i] = false;
            server = fleet->servers[i];
            pthread_mutex_unlock(&fleet->lock);
            if (changed && server_write(etcd, fleet->lease, &server))
                fleet->writes++;
        }
        sleep(1);
    }
    dir_etcd_destroy(etcd);
    return NULL;
}

/* -- programs ---------------------------------------------------------------------------------- */

static void
entry(void *user, const char *key, const char *value, uint64_t created)
{
    struct reading *reading = user;

    (void)created;
    reading->bytes += strlen(key) + strlen(value);
    (void)!dir_servers_take(&reading->servers, key, value);
}

static void
place_one(struct clients *c, struct dir_etcd *etcd, uint32_t client)
{
    struct place_need need = {
        .gpus = 1 + client % 4, .memory_bytes = (uint64_t)(client % 64) << 30, .model_count = 1};
    uint64_t began = gp_now_ns();
    struct reading reading = {0};
    size_t found = 0, tried = 0;
    uint32_t *order;

    snprintf(need.models[0], DIR_MODEL_BYTES, "%s", client % 2 == 0 ? "h*" : "a100");
    if (dir_etcd_range(etcd, DIR_PREFIX, entry, &reading, NULL) != GP_OK)
        c->failed++;
    order = calloc(reading.servers.count + 1, sizeof(*order));
    if (order != NULL)
        found = place_order(&need, reading.servers.list, reading.servers.count, order);
    while (tried < found &&
           !server_admits(c->fleet, &need, reading.servers.list[order[tried]].name))
        tried++;
    c->times[client] = gp_now_ns() - began;
    c->refused += tried;
    c->none += tried == found;
    c->reads++;
    c->bytes += reading.bytes;
    free(order);
    dir_servers_fini(&reading.servers);
}

static void *
programs(void *user)
{
    struct clients *c = user;
    struct dir_etcd *etcd;

    if (dir_etcd_create(&c->fleet->etcd, &etcd) != GP_OK)
        return NULL;
    for (uint32_t i = c->first; i < c->count; i += c->step)
        place_one(c, etcd, i);
    dir_etcd_destroy(etcd);
    return NULL;
}

/* -- the run ----------------------------------------------------------------------------------- */

static int
by_size(const void *x, const void *y)
{
    const uint64_t *a = x, *b = y;

    return (*a > *b) - (*a < *b);
}

/* Servers that gave more sessions or memory than they have. */
static uint32_t
over_admitted(const struct fleet *fleet)
{
    struct place_server before;
    uint32_t over = 0;

    for (uint32_t i = 0; i < fleet->count; i++) {
        bool bad = fleet->given[i] > SESSIONS_MAX;

        server_make(&before, i, fleet->gpus);
        for (uint32_t g = 0; g < fleet->gpus; g++)
            bad = bad || fleet->taken[i * fleet->gpus + g] > before.gpus[g].free_bytes;
        over += bad;
    }
    return over;
}

static int
measure(struct fleet *fleet, uint32_t count, uint32_t threads)
{
    uint64_t *times = calloc(count + 1, sizeof(*times)), began = gp_now_ns(), ns;
    struct clients all = {0}, *c = calloc(threads, sizeof(*c));
    pthread_t writer;
    uint32_t over;

    if (times == NULL || c == NULL || pthread_create(&writer, NULL, registrars, fleet) != 0)
        abort();
    for (uint32_t i = 0; i < threads; i++) {
        c[i] = (struct clients){
            .fleet = fleet, .times = times, .first = i, .step = threads, .count = count};
        if (pthread_create(&c[i].thread, NULL, programs, &c[i]) != 0)
            abort();
    }
    for (uint32_t i = 0; i < threads; i++) {
        pthread_join(c[i].thread, NULL);
        all.reads += c[i].reads;
        all.bytes += c[i].bytes;
        all.refused += c[i].refused;
        all.none += c[i].none;
        all.failed += c[i].failed;
    }
    ns = gp_now_ns() - began;
    atomic_store(&fleet->over, true);
    pthread_join(writer, NULL);
    over = over_admitted(fleet);
    qsort(times, count, sizeof(*times), by_size);
    printf("%u placements in %.1f s, %u at once: median %.2f ms, 99%% %.2f ms\n"
           "%" PRIu64 " times a server refused and the next was taken, %" PRIu64
           " found nothing free, %u servers over-admitted\n"
           "etcd: %.0f reads/s of %" PRIu64 " bytes, %.1f writes/s, %" PRIu64 " reads failed\n",
           count, (double)ns / 1e9, threads, (double)times[count / 2] / 1e6,
           (double)times[(uint64_t)count * 99 / 100] / 1e6, all.refused, all.none, over,
           (double)all.reads * 1e9 / (double)ns, all.bytes / gp_max_u64(all.reads, 1),
           (double)fleet->writes * 1e9 / (double)ns, all.failed);
    free(times);
    free(c);
    return over > 0 || all.failed > 0 || all.reads != count;
}

static bool
fleet_make(struct fleet *fleet, const struct gp_options *o)
{
    fleet->count = (uint32_t)gp_min_u64(gp_options_u64(o, "servers"), SERVERS_MAX);
    fleet->gpus = (uint32_t)gp_min_u64(gp_options_u64(o, "gpus"), PLACE_GPUS_MAX);
    fleet->servers = calloc(fleet->count + 1, sizeof(*fleet->servers));
    fleet->changed = calloc(fleet->count + 1, sizeof(*fleet->changed));
    fleet->given = calloc(fleet->count + 1, sizeof(*fleet->given));
    fleet->taken = calloc((size_t)fleet->count * fleet->gpus + 1, sizeof(*fleet->taken));
    if (fleet->servers == NULL || fleet->changed == NULL || fleet->given == NULL ||
        fleet->taken == NULL)
        return false;
    for (uint32_t i = 0; i < fleet->count; i++)
        server_make(&fleet->servers[i], i, fleet->gpus);
    for (size_t i = 0; i < gp_options_count(o, "etcd") && i < DIR_ENDPOINTS_MAX; i++)
        fleet->etcd.endpoints[fleet->etcd.endpoint_count++] = gp_options_at(o, "etcd", i);
    fleet->etcd.ca = gp_options_text(o, "ca");
    fleet->etcd.cert = gp_options_text(o, "cert");
    fleet->etcd.key = gp_options_text(o, "key");
    return pthread_mutex_init(&fleet->lock, NULL) == 0;
}

int
main(int argc, char **argv)
{
    struct fleet fleet = {0};
    struct dir_etcd *etcd;
    struct gp_options *o;
    uint64_t began;
    int next, rc;

    if (gp_options_create(&set, &o) != GP_OK || gp_options_load_args(o, argc, argv, &next) != GP_OK)
        return 2;
    if (!fleet_make(&fleet, o) || dir_etcd_create(&fleet.etcd, &etcd) != GP_OK)
        return 1;
    began = gp_now_ns();
    rc = dir_etcd_grant(etcd, 600, &fleet.lease) != GP_OK;
    for (uint32_t i = 0; rc == 0 && i < fleet.count; i++)
        rc = !server_write(etcd, fleet.lease, &fleet.servers[i]);
    if (rc != 0)
        fprintf(stderr, "place: %s\n", dir_etcd_why(etcd));
    else
        printf("%u servers with %u GPUs written in %.1f s\n", fleet.count, fleet.gpus,
               (double)(gp_now_ns() - began) / 1e9);
    if (rc == 0)
        rc = measure(&fleet, (uint32_t)gp_options_u64(o, "clients"),
                     (uint32_t)gp_max_u64(1, gp_min_u64(gp_options_u64(o, "threads"), 64)));
    if (fleet.lease != 0)
        (void)!dir_etcd_revoke(etcd, fleet.lease);
    dir_etcd_destroy(etcd);
    gp_options_destroy(o);
    free(fleet.servers);
    free(fleet.changed);
    free(fleet.given);
    free(fleet.taken);
    return rc;
}
