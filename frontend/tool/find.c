/* frontend/tool/find.c */
#include "frontend/tool/find.h"

#include "frontend/core/connect.h"
#include "frontend/core/need.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/parse.h"
#include "protocol/base/url.h"
#include "protocol/base/util.h"

#include "frontend/tool/directory.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define PROBE_NS     (2 * GP_NS_PER_S) /* of one server that is asked */
#define MEASURE_NS   (300 * GP_NS_PER_MS)
#define MEASURED_MAX 32
#define PORT_DEFAULT 7470

/* -- asking servers ---------------------------------------------------------------------------- */

static void
server_describe(const struct wire_open_answer *answer, struct place_server *server)
{
    snprintf(server->name, sizeof(server->name), "%.*s", PLACE_TEXT - 1, answer->server);
    for (uint32_t i = 0; i < answer->device_count && server->gpu_count < PLACE_GPUS_MAX; i++)
        if (!answer->devices[i].hidden)
            server->gpus[server->gpu_count++] = fe_need_gpu(&answer->devices[i]);
}

static bool
server_ask(const struct fe_config *config, size_t which, struct place_server *server)
{
    GP_AUTO_FREE struct fe_monitor *monitor = calloc(1, sizeof(*monitor));
    char why[FE_WHY_BYTES] = "";

    snprintf(server->urls, sizeof(server->urls), "%s", config->servers[which]);
    snprintf(server->name, sizeof(server->name), "%.*s", PLACE_TEXT - 1, config->servers[which]);
    snprintf(server->region, sizeof(server->region), "%s", config->lines[which].region);
    snprintf(server->zone, sizeof(server->zone), "%s", config->lines[which].zone);
    server->cost = config->lines[which].cost;
    server->rtt_ns = UINT64_MAX;
    if (monitor == NULL ||
        fe_connect_monitor(config, which, gp_now_ns() + PROBE_NS, monitor, why) != CUDA_SUCCESS) {
        log_info("%s", why);
        server->draining = true; /* it takes nobody now, whatever the reason */
        return false;
    }
    server_describe(&monitor->answer, server);
    fe_monitor_close(monitor);
    return true;
}

static bool
servers_ask(const struct fe_config *config, struct tool_found *found)
{
    size_t answered = 0;

    found->list = calloc(config->server_count + 1, sizeof(*found->list));
    if (found->list == NULL)
        return false;
    for (size_t i = 0; i < config->server_count; i++)
        answered += server_ask(config, i, &found->list[found->count++]);
    if (answered == 0)
        snprintf(found->why, sizeof(found->why),
                 "none of the %zu servers answers; gpupool doctor "
                 "tells more",
                 config->server_count);
    return answered > 0;
}

/* -- how far they are -------------------------------------------------------------------------- */

/* A connection that is being made; -1 where that cannot be. Names are looked up before: they are
 * few, and the resolver remembers them. */
static int
connect_begin(const char *urls)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    char port[8];
    struct gp_url all[16];
    size_t count;
    int fd = -1;

    if (gp_url_list_parse(urls, all, 16, &count) != GP_OK)
        return -1;
    snprintf(port, sizeof(port), "%u", all[0].has_port ? all[0].port : PORT_DEFAULT);
    if (getaddrinfo(all[0].host, port, &hints, &list) != 0)
        return -1;
    fd = socket(list->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, list->ai_addr, list->ai_addrlen) != 0 && errno != EINPROGRESS) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(list);
    return fd;
}

/* All at once: who answers first is nearest. Who does not stays without a figure, and behind. */
static void
measure(struct tool_found *found)
{
    struct pollfd polls[MEASURED_MAX];
    uint64_t began[MEASURED_MAX], until = gp_now_ns() + MEASURE_NS;
    size_t count = found->fit < MEASURED_MAX ? found->fit : MEASURED_MAX, left = 0;

    for (size_t i = 0; i < count; i++) {
        began[i] = gp_now_ns();
        polls[i] = (struct pollfd){.fd = connect_begin(found->list[found->order[i]].urls),
                                   .events = POLLOUT};
        left += polls[i].fd >= 0;
    }
    while (left > 0 && gp_now_ns() < until) {
        if (poll(polls, count, gp_deadline_poll_ms(gp_now_ns(), until)) <= 0)
            break;
        for (size_t i = 0; i < count; i++) {
            int error = 0;
            socklen_t bytes = sizeof(error);

            if (polls[i].fd < 0 || polls[i].revents == 0)
                continue;
            if (getsockopt(polls[i].fd, SOL_SOCKET, SO_ERROR, &error, &bytes) == 0 && error == 0)
                found->list[found->order[i]].rtt_ns = gp_now_ns() - began[i];
            close(polls[i].fd);
            polls[i].fd = -1;
            left--;
        }
    }
    for (size_t i = 0; i < count; i++)
        if (polls[i].fd >= 0)
            close(polls[i].fd);
}

/* -- all --------------------------------------------------------------------------------------- */

bool
tool_find(const struct fe_config *config, struct tool_line *line, struct tool_found *found_p)
{
    struct tool_found found = {0};
    bool ok = config->etcd_count > 0 ? tool_directory_read(config, line, &found)
                                     : servers_ask(config, &found);

    if (ok) {
        found.order = calloc(found.count + 1, sizeof(*found.order));
        ok = found.order != NULL;
    }
    if (ok) {
        found.fit = place_order(&config->need, found.list, found.count, found.order);
        if (found.fit > 1) {
            measure(&found);
            found.fit = place_order(&config->need, found.list, found.count, found.order);
        }
        if (found.fit == 0)
            found.together =
                place_together(&config->need, found.list, found.count, FE_SERVERS_MAX, found.order);
    }
    *found_p = found;
    return ok;
}

bool
tool_found_ever(const struct fe_config *config, const struct tool_found *found)
{
    return place_ever(&config->need, found->list, found->count, FE_SERVERS_MAX);
}

void
tool_found_fini(struct tool_found *found)
{
    free(found->list);
    free(found->order);
    *found = (struct tool_found){0};
}

static void
row_print(const struct fe_config *config, const struct place_server *server, size_t place,
          bool joined, FILE *to)
{
    char order[24] = "-", rtt[24] = "-", most[32], why[PLACE_TEXT], models[64] = "-";
    uint64_t free_bytes = 0;
    uint32_t met = place_server_meets(&config->need, server, why);

    for (uint32_t i = 0; i < server->gpu_count; i++)
        free_bytes = gp_max_u64(free_bytes, server->gpus[i].free_bytes);
    if (server->gpu_count > 0)
        snprintf(models, sizeof(models), "%u x %s", server->gpu_count, server->gpus[0].model);
    if (met > 0 || joined)
        snprintf(order, sizeof(order), "%s%zu", joined ? "+" : "", place + 1);
    if (server->rtt_ns != UINT64_MAX)
        snprintf(rtt, sizeof(rtt), "%.2f ms", (double)server->rtt_ns / 1e6);
    gp_format_bytes(free_bytes >> 20 << 20, most, sizeof(most));
    fprintf(to, "%-5s %-20.20s %-12.12s %-7s %-9s %-14.14s %-10s %u  %s\n", order, server->name,
            server->region[0] != '\0' ? server->region : "-",
            server->cost == PLACE_CLOUD ? "cloud" : "onprem", rtt, models, most, met, why);
}

static bool
is_joined(const struct tool_found *found, size_t which)
{
    for (size_t i = 0; i < found->together; i++)
        if (found->order[i] == which)
            return true;
    return false;
}

void
tool_found_print(const struct fe_config *config, const struct tool_found *found, FILE *to)
{
    char why[PLACE_TEXT];

    fprintf(to, "%-5s %-20s %-12s %-7s %-9s %-14s %-10s %s\n", "ORDER", "SERVER", "REGION", "COST",
            "DISTANCE", "GPUS", "MOST FREE", "FIT");
    for (size_t i = 0; i < found->fit + found->together; i++)
        row_print(config, &found->list[found->order[i]], i, found->together > 0, to);
    for (size_t i = 0; i < found->count; i++)
        if (place_server_meets(&config->need, &found->list[i], why) == 0 && !is_joined(found, i))
            row_print(config, &found->list[i], 0, false, to);
}
