/* frontend/core/visible.c */
#include "frontend/core/visible.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define UUID_TEXT 41

void
fe_uuid_text(const char *prefix, const uint8_t uuid[WIRE_UUID_BYTES], char *out)
{
    int at = snprintf(out, UUID_TEXT, "%s", prefix);
    int i;

    for (i = 0; i < WIRE_UUID_BYTES; i++)
        at += snprintf(out + at, (size_t)(UUID_TEXT - at), "%s%02x",
                       i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
}

/* Where it is on the bus; one that does not say comes last. */
static uint64_t
place_of(const struct wire_device *device)
{
    unsigned domain, bus, slot, function;

    if (sscanf(device->pci_bus_id, "%x:%x:%x.%x", &domain, &bus, &slot, &function) != 4)
        return UINT64_MAX;
    return (uint64_t)domain << 32 | (bus & 0xffu) << 16 | (slot & 0xffu) << 8 | (function & 0xffu);
}

/* What each index of the program's means. */
static void
count_them(const char *wish, const struct wire_device *devices, unsigned count, unsigned *all)
{
    bool by_place = wish != NULL && strcmp(wish, "PCI_BUS_ID") == 0;

    for (unsigned i = 0; i < count; i++) {
        unsigned at = i;

        for (; by_place && at > 0 && place_of(&devices[all[at - 1]]) > place_of(&devices[i]); at--)
            all[at] = all[at - 1];
        all[at] = i;
    }
}

/* The device that the len characters at text name, -1: none, or more than one. */
static int
named(const char *text, size_t len, const struct wire_device *devices, const unsigned *all,
      unsigned count)
{
    char uuid[UUID_TEXT];
    unsigned i, index = 0;
    int found = -1;

    if (len > 4 && (strncasecmp(text, "GPU-", 4) == 0 || strncasecmp(text, "MIG-", 4) == 0)) {
        for (i = 0; i < count; i++) {
            bool mig = strncasecmp(text, "MIG-", 4) == 0;

            fe_uuid_text(mig ? "MIG-" : "GPU-", mig ? devices[i].uuid_v2 : devices[i].uuid, uuid);
            if (strncasecmp(text, uuid, len) != 0)
                continue;
            if (found >= 0)
                return -1;
            found = (int)i;
        }
        return found;
    }
    if (len == 0 || len > 3)
        return -1;
    for (i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        index = index * 10 + (unsigned)(text[i] - '0');
    }
    return index < count ? (int)all[index] : -1;
}

unsigned
fe_visible(const char *text, const char *wish, const struct wire_device *devices, unsigned count,
           unsigned *order)
{
    bool taken[WIRE_DEVICES_MAX] = {false};
    unsigned all[WIRE_DEVICES_MAX], n = 0;

    count_them(wish, devices, count, all);
    if (text == NULL) {
        memcpy(order, all, count * sizeof(*order));
        return count;
    }
    for (;;) {
        size_t blank = strspn(text, " \t");
        size_t len = strcspn(text + blank, ", \t");
        int device = named(text + blank, len, devices, all, count);

        if (device < 0)
            return n;
        if (taken[device])
            return 0;
        taken[device] = true;
        order[n++] = (unsigned)device;
        text += blank + len;
        text += strspn(text, " \t");
        if (*text != ',')
            return n;
        text++;
    }
}
