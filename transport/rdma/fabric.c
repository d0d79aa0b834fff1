/* transport/rdma/fabric.c -- which fabrics an operator's list means, which ports go together; pure
 */
#include "transport/rdma/rdma.h"

#include "protocol/base/network.h"
#include "protocol/base/util.h"
#include "transport/rdma/offer.h"

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

/* -- several ports ------------------------------------------------------------------------------
 */

static bool
same_port(const struct tp_rdma_port *a, const struct tp_rdma_port *b)
{
    return a->port == b->port && strcmp(a->device, b->device) == 0;
}

size_t
tp_rdma_others(const struct tp_rdma_port *ports, size_t count, const struct tp_rdma_port *but,
               const struct tp_rdma_opts *allowed, struct tp_rdma_port *others)
{
    size_t found = 0;

    for (size_t i = 0; i < count; i++)
        if (!same_port(&ports[i], but) && ports[i].layer == but->layer &&
            (allowed == NULL || tp_rdma_allowed(allowed, &ports[i])))
            others[found++] = ports[i];
    return found;
}

/* What does not leave the cable: as good as none where there is another. */
static bool
is_link_local(const uint8_t *gid)
{
    return gid[0] == 0xfe && (gid[1] & 0xc0) == 0x80;
}

bool
tp_rdma_leaves_cable(const struct tp_rdma_port *port)
{
    return port->layer == TP_RDMA_LAYER_INFINIBAND || !is_link_local(port->gid);
}

size_t
tp_rdma_one_each(struct tp_rdma_port *ports, size_t count, size_t max)
{
    size_t kept = 0, k;

    for (size_t i = 0; i < count; i++) {
        for (k = 0; k < kept && !same_port(&ports[k], &ports[i]); k++)
            ;
        if (k == kept && kept < max)
            ports[kept++] = ports[i];
        else if (k < kept && !tp_rdma_leaves_cable(&ports[k]))
            ports[k] = ports[i];
    }
    return kept;
}

/* Bits from the front that are the same; -1 between IPv4 and anything else: there is no way. */
static int
nearness(const uint8_t *a, const uint8_t *b)
{
    int bits = 0;

    if ((memcmp(a, v4_mapped, sizeof(v4_mapped)) == 0) !=
        (memcmp(b, v4_mapped, sizeof(v4_mapped)) == 0))
        return -1;
    while (bits < 128 && (((a[bits / 8] ^ b[bits / 8]) << bits % 8) & 0x80) == 0)
        bits++;
    return bits;
}

static bool
is_taken(const struct tp_rdma_match *matches, size_t count, size_t theirs,
         const struct tp_rdma_port *ours, const struct tp_rdma_port *port)
{
    for (size_t i = 0; i < count; i++)
        if (matches[i].theirs == theirs || same_port(&ours[matches[i].ours], port))
            return true;
    return false;
}

size_t
tp_rdma_match(const uint8_t (*theirs)[16], size_t their_count, const struct tp_rdma_port *ours,
              size_t our_count, struct tp_rdma_match *matches, size_t max)
{
    size_t found = 0;
    int best = 0;

    while (found < max && best >= 0) {
        best = -1;
        for (size_t t = 0; t < their_count; t++)
            for (size_t o = 0; o < our_count; o++) {
                int near = nearness(theirs[t], ours[o].gid);

                if (near <= best || is_taken(matches, found, t, ours, &ours[o]))
                    continue;
                best = near;
                matches[found] = (struct tp_rdma_match){t, o};
            }
        found += best >= 0;
    }
    return found;
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
