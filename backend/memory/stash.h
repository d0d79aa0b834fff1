/* backend/memory/stash.h -- what is paged out of a device: in pinned memory, packed, or in a file
 *
 * Bytes come into a block of the arena and leave from one. Between, where the host's memory for
 * all sessions is full (be_ledger_host_full()), they are packed with zstd if a probe says that it
 * pays, else written to the session's own file, if it has one. Whatever fails there leaves them
 * where they are: in the arena, beyond what the operator wanted, and the ledger refuses who comes.
 *
 * The file is the worker's alone: 0600, without a name from the start, so that it ends with the
 * process and no other one can open it. Each extent's bytes are checked when they are read back;
 * reading fails until the disk gives what was written.
 *
 * Threads: one at a time in _settle and _fetch; the others any. Lock: stash.lock (rank 43), held
 *          for no copy and no reading or writing.
 */
#ifndef BE_STASH_H
#define BE_STASH_H

#include "backend/driver/driver.h"
#include "backend/tenant/ledger.h"

struct be_stash;
struct be_kept; /* the bytes of one extent */

enum be_stash_pack {
    BE_PACK_NEVER,
    BE_PACK_FULL, /* where the host's memory is full */
    BE_PACK_ALWAYS,
};

struct be_stash_opts {
    uint64_t unit; /* of blocks: be_arena_create() */
    int spill_fd;  /* -1: none; the stash's from now on, also where it fails */
    enum be_stash_pack pack;
    bool spill_always; /* for tests */
    /* For tests: true: the next step does not work. NULL: all do. */
    bool (*fault)(void *user);
    void *user;
};

/* ledger may be NULL. */
struct be_stash *be_stash_create(const struct be_driver *driver, struct be_ledger *ledger,
                                 const struct be_stash_opts *opts);
/* Nothing is kept any more. */
void be_stash_destroy(struct be_stash *stash);

/* A file for what does not fit, in a folder; -1 (logged): none could be made there. */
int be_stash_open_spill(const char *folder);

/* Room for bytes, at most BE_ARENA_SLAB, with a block to copy them to; NULL: none. A context is
 * current. */
struct be_kept *be_stash_take(struct be_stash *stash, uint64_t bytes);
/* The block; NULL: it has none now. */
void *be_kept_block(const struct be_kept *kept);
/* The bytes are in the block: bring them to where they shall lie. */
void be_stash_settle(struct be_stash *stash, struct be_kept *kept);
/* Have them in a block again. Errors: GP_ERR_NO_MEMORY; GP_ERR_IO (logged): the file cannot be
 * read now; GP_ERR_PROTOCOL (logged): what it gives is not what was written. All may be tried
 * again, and nothing is lost by it. */
GP_CHECK enum gp_status be_stash_fetch(struct be_stash *stash, struct be_kept *kept);
/* The block was not needed: the bytes lie where they did before _fetch. */
void be_stash_unfetch(struct be_stash *stash, struct be_kept *kept);
void be_stash_drop(struct be_stash *stash, struct be_kept *kept); /* may be NULL */

/* Bytes: of extents that were packed, what they take so, and of extents in the file. */
struct be_stash_sums {
    uint64_t packed_from, packed_to, spilled;
};
void be_stash_sums(struct be_stash *stash, struct be_stash_sums *sums_p);

#endif
