/* protocol/base/network.h -- networks as operators write them: "10.9.0.0/16", "2001:db8::/32"
 *
 * Pure. Addresses are 16 bytes, those of IPv4 as ::ffff:a.b.c.d.
 */
#ifndef GP_NETWORK_H
#define GP_NETWORK_H

#include "protocol/base/status.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct gp_network {
    uint8_t address[16];
    unsigned bits; /* of the 128 that count */
};

/* GP_ERR_INVALID, nothing logged. */
GP_CHECK enum gp_status gp_network_parse(const char *text, struct gp_network *network_p);
bool gp_network_has(const struct gp_network *network, const uint8_t address[16]);

/* An address of the internet; false for any other kind. */
bool gp_address_bytes(const struct sockaddr *from, uint8_t address[16]);

#endif
