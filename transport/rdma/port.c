/* transport/rdma/port.c */
#include "transport/rdma/port.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "transport/rdma/offer.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* Of a device. */
#define GIDS_LOOKED_AT 1024

/* The port's addresses among those of its device. */
static size_t
probe_port(const struct tp_verbs *verbs, struct ibv_context *context, const char *device,
           uint8_t number, const struct ibv_gid_entry *gids, size_t gid_count,
           struct tp_rdma_port *ports, size_t max)
{
    struct ibv_port_attr attr = {0};
    struct tp_rdma_port port = {.port = number};
    bool ethernet;
    size_t found = 0;

    if (verbs->query_port(context, number, (struct _compat_ibv_port_attr *)&attr) != 0 ||
        attr.state != IBV_PORT_ACTIVE)
        return 0;
    ethernet = attr.link_layer == IBV_LINK_LAYER_ETHERNET;
    snprintf(port.device, sizeof(port.device), "%s", device);
    port.layer = ethernet ? TP_RDMA_LAYER_ETHERNET : TP_RDMA_LAYER_INFINIBAND;
    port.mtu = (uint8_t)attr.active_mtu;
    port.lid = attr.lid;
    for (size_t i = 0; i < gid_count && found < max; i++) {
        if (gids[i].port_num != number || gids[i].gid_index > UINT8_MAX ||
            (ethernet && gids[i].gid_type != IBV_GID_TYPE_ROCE_V2))
            continue;
        port.gid_index = (uint8_t)gids[i].gid_index;
        memcpy(port.gid, gids[i].gid.raw, sizeof(port.gid));
        ports[found++] = port;
        if (!ethernet)
            break;
    }
    return found;
}

struct ibv_context *
tp_rdma_open(const struct tp_verbs *verbs, const char *device)
{
    int count = 0;
    struct ibv_device **list = verbs->get_device_list(&count);
    struct ibv_context *context = NULL;

    for (int i = 0; list != NULL && i < count && context == NULL; i++)
        if (strcmp(verbs->get_device_name(list[i]), device) == 0)
            context = verbs->open_device(list[i]);
    if (list != NULL)
        verbs->free_device_list(list);
    return context;
}

static size_t
probe_device(const struct tp_verbs *verbs, struct ibv_device *device, struct tp_rdma_port *ports,
             size_t max)
{
    struct ibv_context *context = verbs->open_device(device);
    struct ibv_device_attr attr = {0};
    struct ibv_gid_entry *gids = calloc(GIDS_LOOKED_AT, sizeof(*gids));
    size_t found = 0;
    ssize_t count = -1;

    if (context == NULL) {
        log_debug("rdma: %s cannot be opened: %m", verbs->get_device_name(device));
        goto out;
    }
    if (gids != NULL && verbs->query_device(context, &attr) == 0)
        count = verbs->query_gid_table(context, gids, GIDS_LOOKED_AT, 0, sizeof(*gids));
    for (unsigned n = 1; count > 0 && n <= attr.phys_port_cnt; n++)
        found += probe_port(verbs, context, verbs->get_device_name(device), (uint8_t)n, gids,
                            (size_t)count, ports + found, max - found);
    verbs->close_device(context);
out:
    free(gids);
    return found;
}

size_t
tp_rdma_probe(struct tp_rdma_port *ports, size_t max, char *why)
{
    const char *missing;
    const struct tp_verbs *verbs = tp_verbs(&missing);
    struct ibv_device **list;
    size_t found = 0;
    int count = 0;

    if (verbs == NULL) {
        if (why != NULL)
            snprintf(why, TP_WHY_BYTES, "rdma: %s", missing);
        return 0;
    }
    list = verbs->get_device_list(&count);
    for (int i = 0; list != NULL && i < count; i++)
        found += probe_device(verbs, list[i], ports + found, max - found);
    if (list != NULL)
        verbs->free_device_list(list);
    if (found == 0 && why != NULL)
        snprintf(why, TP_WHY_BYTES,
                 count > 0
                     ? "rdma: no port of the %d devices here is up with an InfiniBand or RoCE "
                       "v2 address: see ibv_devinfo"
                     : "rdma: this machine has no RDMA device: see ibv_devinfo",
                 count);
    return found;
}

/* The socket's own address as a GID has it; false if it is of no family that could be one. */
static bool
own_address(int fd, uint8_t gid[16])
{
    union {
        struct sockaddr_storage any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } addr = {0};
    socklen_t len = sizeof(addr);

    if (getsockname(fd, (struct sockaddr *)&addr, &len) != 0)
        return false;
    if (addr.any.ss_family == AF_INET6) {
        memcpy(gid, &addr.in6.sin6_addr, 16);
        return true;
    }
    memset(gid, 0, 16);
    gid[10] = gid[11] = 0xff;
    memcpy(gid + 12, &addr.in.sin_addr, 4);
    return addr.any.ss_family == AF_INET;
}

const struct tp_rdma_port *
tp_rdma_pick(const struct tp_rdma_port *ports, size_t count, int fd, uint8_t layer,
             const struct tp_rdma_opts *allowed)
{
    const struct tp_rdma_port *best = NULL;
    int best_value = 0;
    uint8_t own[16];
    bool known = own_address(fd, own);

    for (size_t i = 0; i < count; i++) {
        const struct tp_rdma_port *p = &ports[i];
        int value = 1;

        if ((layer != 0 && p->layer != layer) || (allowed != NULL && !tp_rdma_allowed(allowed, p)))
            continue;
        if (known && memcmp(p->gid, own, sizeof(own)) == 0)
            value = 3;
        else if (tp_rdma_leaves_cable(p))
            value = 2;
        if (value > best_value) {
            best = p;
            best_value = value;
        }
    }
    return best;
}
