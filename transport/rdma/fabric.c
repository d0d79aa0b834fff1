/* transport/rdma/fabric.c -- which fabrics an operator's list means; pure */
#include "transport/rdma/rdma.h"

#include "protocol/base/parse.h"
#include "protocol/base/util.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};

/* "10.9.0.0/16" as 16 bytes and how many bits of them count. */
static bool
network_parse(const char *text, uint8_t bytes[16], unsigned *bits_p)
{
    const char *slash = strchr(text, '/');
    char address[INET6_ADDRSTRLEN];
    uint64_t bits;
    bool is_v4;

    if (slash == NULL || (size_t)(slash - text) >= sizeof(address) ||
        gp_parse_u64(slash + 1, &bits) != GP_OK)
        return false;
    memcpy(address, text, (size_t)(slash - text));
    address[slash - text] = '\0';
    is_v4 = inet_pton(AF_INET, address, bytes + 12) == 1;
    if (is_v4)
        memcpy(bytes, v4_mapped, sizeof(v4_mapped));
    else if (inet_pton(AF_INET6, address, bytes) != 1)
        return false;
    *bits_p = (unsigned)bits + (is_v4 ? 96 : 0);
    return bits <= (is_v4 ? 32 : 128);
}

static bool
within(const uint8_t *address, const uint8_t *network, unsigned bits)
{
    unsigned rest = bits % 8;

    if (memcmp(address, network, bits / 8) != 0)
        return false;
    return rest == 0 || ((address[bits / 8] ^ network[bits / 8]) >> (8 - rest)) == 0;
}

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
    uint8_t network[16];
    unsigned bits;

    for (size_t i = 0; i < opts->fabric_count; i++) {
        const char *text = opts->fabrics[i];

        if (strcmp(text, "*") == 0 || names_device(text, port))
            return true;
        if (network_parse(text, network, &bits) && within(port->gid, network, bits))
            return true;
    }
    return false;
}

enum gp_status
tp_rdma_fabric_check(const char *text)
{
    uint8_t network[16];
    unsigned bits;
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:");

    if (strcmp(text, "*") == 0 || network_parse(text, network, &bits))
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
