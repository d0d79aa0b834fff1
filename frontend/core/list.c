/* frontend/core/list.c -- the devices of several servers as one list */
#include "frontend/core/list.h"

#include "frontend/core/need.h"
#include "protocol/abi/cuda_types.h"

#include <stdio.h>
#include <string.h>

#define DOMAINS 0x100u /* of one server */

void
fe_list_pci(struct wire_device *device, unsigned server)
{
    unsigned domain, bus, slot, function;

    if (server == 0 ||
        sscanf(device->pci_bus_id, "%x:%x:%x.%x", &domain, &bus, &slot, &function) != 4)
        return;
    domain = domain % DOMAINS + server * DOMAINS;
    snprintf(device->pci_bus_id, sizeof(device->pci_bus_id), "%04x:%02x:%02x.%x", domain & 0xffffu,
             bus & 0xffu, slot & 0x1fu, function & 7u);
    if (device->attribute_count > CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID)
        device->attributes[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID] = (int32_t)domain;
}

/* The devices of one server among those in order that meet the need, at most want of them. */
static unsigned
of_server(const struct place_need *need, const struct wire_device *devices, const unsigned *servers,
          const unsigned *order, unsigned count, unsigned server, unsigned want, bool *taken,
          char why[PLACE_TEXT])
{
    struct place_need here = *need;
    unsigned mine[WIRE_DEVICES_MAX], n = 0, got;

    for (unsigned i = 0; i < count; i++)
        if (servers[order[i]] == server)
            mine[n++] = order[i];
    here.gpus = want;
    got = n > 0 && want > 0 ? fe_need_choose(&here, devices, mine, n, why) : 0;
    for (unsigned i = 0; i < got; i++)
        taken[mine[i]] = true;
    return got;
}

/* How many of each server: wants[server], in all need->gpus or what there is. */
static unsigned
share_out(const struct place_need *need, const unsigned *has, unsigned servers, unsigned *wants)
{
    unsigned got = 0, before;

    /* One that has enough for all, before several. */
    for (unsigned s = 0; s < servers && !need->spread; s++)
        if (has[s] >= need->gpus) {
            wants[s] = need->gpus;
            return need->gpus;
        }
    for (unsigned s = 0; s < servers && !need->spread; s++) {
        wants[s] = has[s] < need->gpus - got ? has[s] : need->gpus - got;
        got += wants[s];
    }
    do {
        before = got;
        for (unsigned s = 0; s < servers && got < need->gpus; s++)
            if (wants[s] < has[s]) {
                wants[s]++;
                got++;
            }
    } while (got > before);
    return got;
}

unsigned
fe_list_choose(const struct place_need *need, const struct wire_device *devices,
               const unsigned *servers, unsigned *order, unsigned count, char why[PLACE_TEXT])
{
    unsigned has[FE_SERVERS_MAX] = {0}, wants[FE_SERVERS_MAX] = {0}, kept = 0;
    bool taken[WIRE_DEVICES_MAX] = {false}, all[WIRE_DEVICES_MAX] = {false};
    char unsaid[PLACE_TEXT];

    for (unsigned s = 0; s < FE_SERVERS_MAX; s++)
        has[s] = of_server(need, devices, servers, order, count, s, need->gpus, all, unsaid);
    if (share_out(need, has, FE_SERVERS_MAX, wants) < need->gpus) {
        unsigned copy[WIRE_DEVICES_MAX];

        memcpy(copy, order, count * sizeof(*order));
        (void)fe_need_choose(need, devices, copy, count, why); /* for its words */
    }
    for (unsigned s = 0; s < FE_SERVERS_MAX; s++)
        (void)of_server(need, devices, servers, order, count, s, wants[s], taken, unsaid);
    for (unsigned i = 0; i < count; i++)
        if (taken[order[i]])
            order[kept++] = order[i];
    return kept;
}
