/* frontend/core/list.h -- the devices of several servers as one list
 *
 * Servers that a program uses together ("a+b+c"): their devices follow one another in that order.
 * Names stay as the servers gave them (UUIDs are unique); places on the PCI bus are made
 * unique by their domain, 256 of them for each server.
 *
 * Pure.
 */
#ifndef FE_LIST_H
#define FE_LIST_H

#include "frontend/core/config.h"
#include "protocol/directory/place.h"
#include "protocol/wire/control.h"

/* The device of this server of the list gets a place of its own. */
void fe_list_pci(struct wire_device *device, unsigned server);

/*
 * Of the devices in order (by number in the table) those that meet the need stay, need->gpus of
 * them, in that order; fewer, and why says what lacks. servers says whose each device is, rising.
 * To pack: of as few servers as it takes, the first in the list first; to spread: of all in turn.
 */
unsigned fe_list_choose(const struct place_need *need, const struct wire_device *devices,
                        const unsigned *servers, unsigned *order, unsigned count,
                        char why[PLACE_TEXT]);

#endif
