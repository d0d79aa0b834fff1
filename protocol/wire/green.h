/* protocol/wire/green.h -- how a split of SMs is told
 *
 * Whose SMs (a green context's or a device's), how they are split, and which parts of that: the
 * server asks its driver for the same split again and keeps nothing.
 */
#ifndef WIRE_GREEN_H
#define WIRE_GREEN_H

/* More groups than a device has SMs come out of no split. */
#define WIRE_SM_GROUPS_MAX 512u
/* As a part: what the groups left. */
#define WIRE_SM_REST 0xffffffffu

#endif
