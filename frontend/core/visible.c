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

/* The device that the len characters at text name, -1: none, or more than one. */
static int
named(const char *text, size_t len, const struct wire_device *devices, unsigned count)
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
    return index < count ? (int)index : -1;
}

unsigned
fe_visible(const char *text, const struct wire_device *devices, unsigned count, unsigned *order)
{
    bool taken[WIRE_DEVICES_MAX] = {false};
    unsigned n = 0;

    if (text == NULL) {
        for (n = 0; n < count; n++)
            order[n] = n;
        return n;
    }
    for (;;) {
        size_t blank = strspn(text, " \t");
        size_t len = strcspn(text + blank, ", \t");
        int device = named(text + blank, len, devices, count);

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
