/* transport/rdma/fabric.c -- which fabrics an operator's list means; pure */
#include "transport/rdma/rdma.h"

#include "protocol/base/network.h"
#include "protocol/base/util.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};

static bool
names_device(const char *text, const struct tp_rdma_port *port)
{
    char with_port[TP_RDMA_DEVICE_MAX + 8];

    snprintf(with_port, sizeof(with_port), "%s:%u", port->device, port->port);
    return strcmp(text, port->device) == 0 || strcmp(text, with_port) == 0;
}

bool
tp_rdma_allowed(const struct tp_rdma_opts *opts, const struct tp_rdma_port *port)
{
    struct gp_network network;

    for (size_t i = 0; i < opts->fabric_count; i++) {
        const char *text = opts->fabrics[i];

        if (strcmp(text, "*") == 0 || names_device(text, port))
            return true;
        if (gp_network_parse(text, &network) == GP_OK && gp_network_has(&network, port->gid))
            return true;
    }
    return false;
}

enum gp_status
tp_rdma_fabric_check(const char *text)
{
    struct gp_network network;
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:");

    if (strcmp(text, "*") == 0 || gp_network_parse(text, &network) == GP_OK)
        return GP_OK;
    return n > 0 && text[n] == '\0' && n <= TP_RDMA_DEVICE_MAX + 4 ? GP_OK : GP_ERR_INVALID;
}

void
tp_rdma_port_text(const struct tp_rdma_port *port, char *out, size_t out_bytes)
{
    char address[INET6_ADDRSTRLEN] = "?";

    if (memcmp(port->gid, v4_mapped, sizeof(v4_mapped)) == 0)
        (void)inet_ntop(AF_INET, port->gid + 12, address, sizeof(address));
    else
        (void)inet_ntop(AF_INET6, port->gid, address, sizeof(address));
    snprintf(out, out_bytes, "%s:%u %s", port->device, port->port, address);
}
