/* protocol/base/network.c */
#include "protocol/base/network.h"

#include "protocol/base/parse.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};

enum gp_status
gp_network_parse(const char *text, struct gp_network *network_p)
{
    const char *slash = strchr(text, '/');
    char address[INET6_ADDRSTRLEN];
    struct gp_network network;
    uint64_t bits;
    bool is_v4;

    if (slash == NULL || (size_t)(slash - text) >= sizeof(address) ||
        gp_parse_u64(slash + 1, &bits) != GP_OK)
        return GP_ERR_INVALID;
    memcpy(address, text, (size_t)(slash - text));
    address[slash - text] = '\0';
    is_v4 = inet_pton(AF_INET, address, network.address + 12) == 1;
    if (is_v4)
        memcpy(network.address, v4_mapped, sizeof(v4_mapped));
    else if (inet_pton(AF_INET6, address, network.address) != 1)
        return GP_ERR_INVALID;
    if (bits > (is_v4 ? 32 : 128))
        return GP_ERR_INVALID;
    network.bits = (unsigned)bits + (is_v4 ? 96 : 0);
    *network_p = network;
    return GP_OK;
}

bool
gp_network_has(const struct gp_network *network, const uint8_t address[16])
{
    unsigned whole = network->bits / 8, rest = network->bits % 8;

    if (memcmp(address, network->address, whole) != 0)
        return false;
    return rest == 0 || ((address[whole] ^ network->address[whole]) >> (8 - rest)) == 0;
}

bool
gp_address_bytes(const struct sockaddr *from, uint8_t address[16])
{
    if (from->sa_family == AF_INET) {
        memcpy(address, v4_mapped, sizeof(v4_mapped));
        memcpy(address + 12, &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
        return true;
    }
    if (from->sa_family != AF_INET6)
        return false;
    memcpy(address, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr, 16);
    return true;
}
