/* frontend/cuda/pages.h -- which pages of a memory are the program's, the server's, or both
 *
 * A page is STALE (the server may have newer bytes; the program may not touch it), CLEAN (both
 * have the same; it may read) or DIRTY (the program may have written). Pages that are not stale
 * lie in runs, so that nothing is ever looked for page by page in a whole memory. How much a fault
 * brings beside the page itself grows with how long the program has gone straight on.
 *
 * Threads: none; the owner locks. No system calls in here.
 * Units:   pages, counted from the memory's first.
 */
#ifndef FE_PAGES_H
#define FE_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FE_PAGE_BYTES 4096ull

enum fe_page {
    FE_PAGE_STALE,
    FE_PAGE_CLEAN,
    FE_PAGE_DIRTY,
    FE_PAGE_TWIN, /* dirty, and what both sides had before is kept */
};

struct fe_run {
    uint64_t first, count;
};

/* Where the program will touch next if it goes straight on, and how far it came. */
struct fe_streak {
    uint64_t next, length;
};

struct fe_pages {
    uint64_t count;
    uint32_t epoch;      /* marks of an older one mean STALE */
    uint32_t *marks;     /* epoch << 2 | enum fe_page */
    struct fe_run *runs; /* of pages that are not stale; disjoint, in the order they came */
    size_t runs_count, runs_room;
    uint64_t dirty; /* how many pages are */
    struct fe_streak fetched, written;
};

/* All pages stale. False without memory. */
bool fe_pages_init(struct fe_pages *p, uint64_t count);
void fe_pages_fini(struct fe_pages *p);

enum fe_page fe_pages_state(const struct fe_pages *p, uint64_t page);
static inline bool
fe_page_is_dirty(enum fe_page state)
{
    return state >= FE_PAGE_DIRTY;
}

/* The program touched a page: how many pages, it included and all of its state, to treat with it.
 * streak is one of p's. */
uint64_t fe_pages_ahead(const struct fe_pages *p, struct fe_streak *streak, uint64_t page,
                        uint64_t most);

/* Set [first, first + count), which must be all stale or all not. */
void fe_pages_set(struct fe_pages *p, uint64_t first, uint64_t count, enum fe_page state);
/* Everything is stale. */
void fe_pages_forget(struct fe_pages *p);

/* The first stretch at or after *at of pages of one state within the runs that are not stale;
 * *at: 0 at the beginning, then left alone. False at the end. */
struct fe_stretch {
    size_t run;
    uint64_t page;
};
bool fe_pages_next(const struct fe_pages *p, struct fe_stretch *at, uint64_t *first_p,
                   uint64_t *count_p, enum fe_page *state_p);

/* Bytes that differ: bit i of mask (count / 8 bytes) set, the byte of now appended to out. How
 * many. */
size_t fe_bytes_changed(const uint8_t *now, const uint8_t *before, size_t count, uint8_t *mask,
                        uint8_t *out);

#endif
