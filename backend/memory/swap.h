/* backend/memory/swap.h -- a session's memory leaves a device for the host, and comes back
 *
 * Extents move whole: out is a copy into the arena, then unmapping and releasing the physical
 * memory; in is making and mapping it at the same address, then the copy back. Until the copy of
 * either way is known to be done, the bytes that were there count: whatever fails, none is lost,
 * and it can be tried again. Memory that was never touched moves without a copy.
 *
 * The program's own objects move so too (phys_swap.c). What never moves: memory of other sessions,
 * or shared with some; arrays.
 *
 * Threads: one at a time in _out and _in, with a context of the device current and none of the
 *          session's work under way; the others from any.
 * Locks:   space.lock (rank 10), not held over copies: extents on their way are marked, and who
 *          changes them waits (be_swap_still()).
 */
#ifndef BE_SWAP_H
#define BE_SWAP_H

#include "backend/memory/space.h"
#include "backend/memory/stash.h"
#include "backend/tenant/rooms.h"

struct be_swap_opts {
    uint64_t keep_bytes; /* of each device, for nobody */
    /* Where what has left goes when the host's memory is full: stash.h. spill_fd -1: no file. */
    int spill_fd;
    enum be_stash_pack pack;
    bool spill_always;
    struct be_board_row *row; /* NULL: nobody counts */
    unsigned fault;           /* one in so many steps fails, to see that nothing is lost; 0: none */
};

/* Memory may be paged from now on; before the first allocation. */
GP_CHECK enum gp_status be_swap_on(struct be_space *space, const struct be_swap_opts *opts);
void be_swap_off(struct be_space *space);

/* The memory that a copy or fill names, and reaches nothing else. */
struct be_swap_named {
    unsigned count;
    struct be_swap_range {
        uint64_t address, bytes;
        bool written;
    } ranges[2];
};

/* A call that may reach any memory of the session was let in. Or: all of them are done, and so is
 * all else that the session gave the device. */
void be_swap_reached(struct be_space *space);
void be_swap_quiet(struct be_space *space);
/* True if all of it is memory of the session, which the others here take for granted. */
bool be_swap_known(struct be_space *space, const struct be_swap_named *named);
/* A call was let in that reaches only this. */
void be_swap_touched(struct be_space *space, const struct be_swap_named *named);
/* True if all of it is on the device. */
bool be_swap_there(struct be_space *space, const struct be_swap_named *named);

/* Bytes of the session that are not on the device; only: of these ranges, as far as they are
 * allocations. */
uint64_t be_swap_missing(struct be_space *space, int32_t device, const struct be_swap_named *only);
/* Ask for room for all of them and extra bytes; be_rooms_enter(). */
bool be_swap_enter(struct be_space *space, int32_t device, uint64_t extra_bytes,
                   const struct be_swap_named *only, struct be_rooms_answer *answer_p);
/* Take room for what is missing of these, where some is free and nobody waits for it. Else, where
 * nobody waits, what others need not be asked for: so much of what the session has elsewhere may go
 * before the rest (be_swap_out()). 0: nothing, or not enough. */
uint64_t be_swap_own(struct be_space *space, int32_t device, const struct be_swap_named *only);
/* Bring in what there is room for; SUCCESS also where it is not all. CUDA_ERROR_ECC_UNCORRECTABLE:
 * what the disk gives is not what it was given; the session cannot go on. */
CUresult be_swap_in(struct be_space *space, int32_t device, const struct be_swap_named *only);
/* Let bytes of room go: what is not used of it first, then what no kernel can have seen since it
 * was allocated or copied to, then the rest; but: not the rest, nor these ranges. SUCCESS: it did,
 * or nothing is left that could. */
CUresult be_swap_out(struct be_space *space, int32_t device, uint64_t bytes,
                     const struct be_swap_named *but);

#endif
