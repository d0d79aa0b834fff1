/* frontend/core/visible.h -- CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER, which are the driver
 * library's to obey
 */
#ifndef FE_VISIBLE_H
#define FE_VISIBLE_H

#include "protocol/wire/control.h"

/*
 * Which devices a program may see, in its order: text is a list of indexes and of UUIDs or their
 * unambiguous beginnings ("GPU-3f", "MIG-..."); it ends at the first entry that names nothing, and
 * a device named twice leaves none. NULL text: all. wish is how they are counted: "PCI_BUS_ID" by
 * their places, else (the driver's FASTEST_FIRST) in the server's order.
 *
 * Pure. order holds WIRE_DEVICES_MAX places. Returns how many were written.
 */
unsigned fe_visible(const char *text, const char *wish, const struct wire_device *devices,
                    unsigned count, unsigned *order);

/* "GPU-" and the id in hexadecimal; out holds 41 bytes. */
void fe_uuid_text(const char *prefix, const uint8_t uuid[WIRE_UUID_BYTES], char *out);

#endif
